export const file: string;
export function source(): Promise<string>;
