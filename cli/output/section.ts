/** Parts of what is printed for people, line by line. */
export type Lines = readonly string[];

/** Nothing at all where nothing stands below the heading. */
export const section = (heading: string, lines: Lines): Lines =>
  lines.length > 0 ? [heading, ...lines] : [];
