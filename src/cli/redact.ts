const URL_PASSWORD = /(\b[a-z][a-z0-9+.-]*:\/\/[^\s/?#:@"']*:)[^\s"']+@/gi;

/** Hides the password of every url in a text. The last line of defence for what the command line prints. */
export function redact(text: string): string {
  return text.includes('://') ? text.replace(URL_PASSWORD, '$1***@') : text;
}
