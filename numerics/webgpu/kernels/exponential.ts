/**
 * WGSL `exponential(x)`, eˣ for x ≤ 0 within 1.2e-7; 0 where f32 has none, NaN for NaN. WGSL lets the built-in `exp` err
 * by (3 + 2·|x|) units in the last place, and lavapipe's does: 3e-6 at −30.
 * x = n·ln 2 + r with ln 2 in two parts, of which the first times n is exact; eʳ by the polynomial of Cephes' `expf`.
 */
export const exponential = `
fn exponential(x: f32) -> f32 {
  let inside = max(x, -104.0);
  let n = round(inside * 1.4426950408889634);
  let r = (inside - n * 0.693359375) + n * 2.12194440054690583e-4;
  var y = 1.9875691500e-4f;
  y = y * r + 1.3981999507e-3f;
  y = y * r + 8.3334519073e-3f;
  y = y * r + 4.1665795894e-2f;
  y = y * r + 1.6666665459e-1f;
  y = y * r + 5.0000001201e-1f;
  y = y * r * r + r + 1.0f;
  // On bits, as compilers may take for granted that nothing is NaN.
  let isNan = (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u;
  return select(ldexp(y, i32(n)), x, isNan);
}`;
