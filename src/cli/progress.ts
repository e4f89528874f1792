import type { ProgressView, TerminalStream } from "./progress-view.ts";

const silent: ProgressView = { show() {}, stop() {} };

/** A bar with bytes, rate and ETA on stderr. The library is loaded with the first event: short runs never need it. */
export function progressView(on: boolean, stream: TerminalStream): ProgressView {
  if (!on) return silent;
  let bar: ProgressView | undefined;
  let loading = false;
  let stopped = false;
  const load = async () => {
    loading = true;
    const { progressBar } = await import("./progress-bar.ts");
    if (!stopped) bar = progressBar(stream);
  };
  return {
    show(event) {
      if (bar !== undefined) bar.show(event);
      else if (!loading) void load();
    },
    stop() {
      stopped = true;
      bar?.stop();
    },
  };
}
