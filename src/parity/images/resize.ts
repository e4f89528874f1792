// Resizing of 8-bit images to the bit as torch does it on a CPU with antialias=True: separable, columns first, weights
// rounded to 16-bit integers, and 8 bits again between the two passes.
// pytorch/pytorch@v2.13.0:aten/src/ATen/native/cpu/UpSampleKernel.cpp (_compute_index_ranges_int16_weights)

import type { Filter, Size } from "../../family/processor.ts";

/** Row-major [height, width, 3], 8 bits each. */
export interface RgbImage extends Size {
  readonly rgb: Uint8Array;
}

interface Kernel {
  /** Inputs that count on either side of a point, where an image is not made smaller. */
  readonly support: number;
  weight(x: number): number;
}

/** x·π's sine over x·π. */
const sinc = (x: number): number => (x === 0 ? 1 : Math.sin(x * Math.PI) / (x * Math.PI));

/** Keys' cubic convolution with a = −1/2. */
function cubic(x: number): number {
  const [a, d] = [-0.5, Math.abs(x)];
  if (d < 1) return ((a + 2) * d - (a + 3)) * d * d + 1;
  return d < 2 ? (((d - 5) * d + 8) * d - 4) * a : 0;
}

const KERNELS: Readonly<Record<Filter, Kernel>> = {
  bilinear: { support: 1, weight: (x) => Math.max(0, 1 - Math.abs(x)) },
  bicubic: { support: 2, weight: cubic },
  lanczos: { support: 3, weight: (x) => (Math.abs(x) < 3 ? sinc(x) * sinc(x / 3) : 0) },
};

/** What one output is made of. */
interface Window {
  readonly first: number;
  readonly weights: Int32Array;
}

interface Windows {
  readonly windows: readonly Window[];
  /** Weights are integers over 2^precision. */
  readonly precision: number;
}

const MAX_PRECISION = 22;
const WEIGHT_LIMIT = 1 << 15;

export function resizeImage(image: RgbImage, { height, width }: Size, filter: Filter): RgbImage {
  const kernel = KERNELS[filter];
  const wide = image.width === width ? image : resizeColumns(image, width, kernel);
  return wide.height === height ? wide : resizeRows(wide, height, kernel);
}

function resizeColumns({ height, width, rgb }: RgbImage, columns: number, kernel: Kernel): RgbImage {
  const { windows, precision } = windowsOf(width, columns, kernel);
  const out = new Uint8Array(height * columns * 3);
  for (let y = 0; y < height; y++) {
    for (const [x, { first, weights }] of windows.entries()) {
      for (let c = 0; c < 3; c++) {
        const from = 3 * (y * width + first) + c;
        out[3 * (y * columns + x) + c] = weigh(rgb, from, 3, weights, precision);
      }
    }
  }
  return { height, width: columns, rgb: out };
}

function resizeRows({ height, width, rgb }: RgbImage, rows: number, kernel: Kernel): RgbImage {
  const { windows, precision } = windowsOf(height, rows, kernel);
  const stride = 3 * width;
  const out = new Uint8Array(rows * stride);
  for (const [y, { first, weights }] of windows.entries()) {
    for (let i = 0; i < stride; i++) out[y * stride + i] = weigh(rgb, first * stride + i, stride, weights, precision);
  }
  return { height: rows, width, rgb: out };
}

/** The sum, rounded half up, within 8 bits; it fits 32 bits, as the weights sum to about 2^precision. */
function weigh(values: Uint8Array, from: number, stride: number, weights: Int32Array, precision: number): number {
  let sum = 1 << (precision - 1);
  for (let j = 0, at = from; j < weights.length; j++, at += stride) sum += values[at]! * weights[j]!;
  return Math.min(255, Math.max(0, sum >> precision));
}

function windowsOf(inputs: number, outputs: number, { support, weight }: Kernel): Windows {
  const scale = inputs / outputs;
  const [reach, shrink] = scale >= 1 ? [support * scale, 1 / scale] : [support, 1];
  const exact = Array.from({ length: outputs }, (_, i) => {
    const center = scale * (i + 0.5);
    const first = Math.max(0, Math.trunc(center - reach + 0.5));
    const end = Math.min(inputs, Math.trunc(center + reach + 0.5));
    const weights = Float64Array.from({ length: end - first }, (_, j) => weight((j + first - center + 0.5) * shrink));
    const total = weights.reduce((sum, w) => sum + w, 0);
    return { first, weights: weights.map((w) => w / total) };
  });
  const largest = exact.reduce((most, { weights }) => weights.reduce((a, b) => Math.max(a, b), most), 0);
  const precision = precisionFor(largest);
  const windows = exact.map(({ first, weights }) => ({
    first,
    weights: Int32Array.from(weights, (w) => Math.trunc(w * 2 ** precision + (w < 0 ? -0.5 : 0.5))),
  }));
  return { windows, precision };
}

/** The largest for which the largest weight still fits 16 bits. */
function precisionFor(largest: number): number {
  let precision = 0;
  while (precision < MAX_PRECISION && Math.trunc(0.5 + largest * 2 ** (precision + 1)) < WEIGHT_LIMIT) precision++;
  return precision;
}
