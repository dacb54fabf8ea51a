/** The peers, each by its module here; one that cannot be imported on this machine is left out with a line. */
export const modules: Record<'subjects' | 'listings', readonly string[]> = {
  subjects: [],
  listings: [],
};
