/** One file a command means to write. */
export interface PlannedFile {
  /** From the directory the plan is for, with `/`. */
  readonly path: string;
  readonly content: string;
  /**
   * For an edit: the text this was made from. The file must still hold it; then changing it is no conflict.
   * Absent: the file is new, and another one in its place is a conflict.
   */
  readonly replaces?: string;
}
