/** Why something could not be allocated, in words for the user. */
export interface Problem {
  readonly problem: string;
}

export function isProblem(value: object): value is Problem {
  return 'problem' in value;
}
