export const file: string;
export function source(bytes: Uint8Array): string;
export function castKernels(): Promise<Buffer>;
