export const file: string;
export function source(bytes: Uint8Array): string;
export function xxh64Kernel(): Promise<Buffer>;
