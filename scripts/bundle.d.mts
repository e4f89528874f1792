export function bundle(
  entry: string,
  outdir: string,
  threads?: Readonly<Record<string, string>>,
  inside?: Readonly<Record<string, string>>,
): Promise<void>;
