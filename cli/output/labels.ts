/** Labels of an object as rows of lists show them. */

export interface LabelFields {
  readonly Labels: string;
  /** `{{.Label "com.example.tier"}}` */
  readonly Label: (name: string) => string;
}

export function labelFields(labels: Readonly<Record<string, string>> | null | undefined) {
  const all = labels ?? {};
  const texts = Object.entries(all).map(([key, value]) => `${key}=${value}`);
  const fields: LabelFields = {
    Labels: texts.sort().join(','),
    Label: (name) => (Object.hasOwn(all, name) ? all[name]! : ''),
  };
  return fields;
}

/** Of a column of one label: `cpu set` of `com.example.cpu-set`, as Docker heads it. */
export function labelHeading(name: string): string {
  return name.slice(name.lastIndexOf('.') + 1).replace(/[-_]/g, ' ');
}
