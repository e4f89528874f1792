/**
 * Error function, within two units in the last place: erf x = 2/√π · e^(−x²) · Σₙ 2ⁿ x²ⁿ⁺¹ / (2n+1)!!, a series of
 * terms of one sign (DLMF 7.6.2). From |x| = 6 on it is ±1 in f64.
 */
export function erf(x: number): number {
  const magnitude = Math.abs(x);
  if (!(magnitude < 6)) return Number.isNaN(x) ? x : Math.sign(x);
  let term = magnitude;
  let sum = term;
  for (let n = 1; term > sum * 2 ** -54; n++) {
    term *= (2 * magnitude * magnitude) / (2 * n + 1);
    sum += term;
  }
  return Math.sign(x) * (2 / Math.sqrt(Math.PI)) * Math.exp(-magnitude * magnitude) * sum;
}
