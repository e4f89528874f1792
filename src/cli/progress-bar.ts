import { Presets, SingleBar } from "cli-progress";
import { formatBytes, formatSeconds } from "../report/units.ts";
import type { ProgressEvent } from "./command.ts";
import type { ProgressView, TerminalStream } from "./progress-view.ts";

/** Bytes done, rate and time left of the step under way. */
export function progressBar(stream: TerminalStream): ProgressView {
  const bar = new SingleBar(
    {
      stream,
      hideCursor: true,
      clearOnComplete: true,
      noTTYOutput: stream.isTTY !== true,
      notTTYSchedule: 2000,
      format: "{label} {bar} {percentage}%  {bytes}  {rate}  {left}",
    },
    Presets.rect,
  );
  let step: { readonly label: string; readonly begin: number; readonly first: number } | undefined;
  return {
    show(event) {
      const { label, done, total } = event;
      if (step?.label !== label) {
        if (step !== undefined) bar.stop();
        step = { label, begin: performance.now(), first: done };
        bar.start(total, done, payload(event, 0));
      } else {
        bar.setTotal(total);
        const seconds = (performance.now() - step.begin) / 1e3;
        bar.update(done, payload(event, seconds > 0 ? (done - step.first) / seconds : 0));
      }
    },
    stop() {
      if (step !== undefined) bar.stop();
    },
  };
}

function payload({ label, done, total, unit }: ProgressEvent, rate: number) {
  const amount = (n: number) => (unit === undefined ? formatBytes(n) : `${(n / 1e9).toPrecision(3)} G${unit}`);
  return {
    label,
    bytes: `${amount(done)} of ${amount(total)}`,
    rate: rate > 0 ? `${amount(rate)}/s` : "",
    left: rate > 0 ? `${formatSeconds((total - done) / rate)} left` : "",
  };
}
