// The same values but for the last bits: computed in another order, or through another type and back.
import type { TensorFault } from "../fault.ts";
import { whereOf } from "../where.ts";

/** In units in the last place. */
const MOST = 2;
/** In a narrow type a unit is large, and noise is one unit here and there. */
const RARE = 0.05;
const EVERYWHERE = 0.9;

export const lastPlace: TensorFault<{ readonly units: number; readonly where: string }> = {
  code: "LAST_PLACE",
  of: "tensor",
  recognise(pair) {
    const { precision } = pair;
    if (!pair.isOfOneType) return null;
    let units = 0;
    const isClose = pair.differs((x, y) => {
      const unit = precision * 2 ** Math.floor(Math.log2(Math.min(Math.abs(x), Math.abs(y))));
      const apart = Math.abs(x - y) / unit;
      units = Math.max(units, apart);
      return apart <= MOST;
    });
    if (!isClose) return null;
    const { different, of } = pair.measured;
    if (pair.isCoarse && different > RARE * of && different < EVERYWHERE * of) return null;
    return { units: Math.max(1, Math.round(units)), where: whereOf(pair).where };
  },
  words: ({ units, where }) => `is the same but for ${units} in the last place: ${where}`,
  mend: () => "copy the tensor, and do not calculate with it on the way",
};
