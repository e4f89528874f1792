// Mixture of experts: the host reads the router's logits, chooses, and runs each expert on the rows that chose it.
import type { Ops, Routing } from "../../graph.ts";
import { expertShape, mixtureShape } from "../../ops/mixture.ts";
import { chooseExperts, type Share, sharesOf } from "../../routing.ts";
import { addRows, takeRows } from "../kernels/copy.ts";
import { GpuNode, Storage } from "../node.ts";
import { alignUp } from "../queue.ts";
import type { Recording } from "../recording.ts";
import { flatGroups, type Runner, type Source, type Step, sendWords, whole } from "../step.ts";

interface MixtureOperands {
  readonly x: Storage;
  readonly logits: Storage;
  readonly bias: Source | undefined;
  readonly routing: Routing<GpuNode>;
  readonly expert: (x_nD: GpuNode, e: number) => GpuNode;
  /** D. */
  readonly channels: number;
}

/** @param record adds a step that makes the rows which one expert gets */
function mixtureStep(operands: MixtureOperands, record: (step: Step) => void, output: Storage): Step {
  const { x, logits, bias, routing, expert, channels } = operands;
  return {
    inputs: bias === undefined ? [x, logits] : [x, logits, bias],
    output,
    kernels: [takeRows, addRows],
    uploadBytes: 0,
    async run(runner) {
      const bias_E = bias === undefined ? null : await readSource(runner, bias, routing.logits_TE.shape[1]!);
      const choice = chooseExperts(routing, await runner.read(logits), bias_E);
      runner.queue.clear(whole(runner, output));
      for (const share of sharesOf(choice)) {
        const given = await runner.nested(() => {
          const taken = new Storage(share.tokens.length * channels);
          record(takeStep(x, share, channels, routing.weighs === "input", taken));
          const rows = new GpuNode([share.tokens.length, channels], taken);
          const y = expert(rows, share.expert);
          expertShape(rows, y);
          return y;
        });
        await moveRows(runner, addRows, given, share, channels, routing.weighs === "output", output);
        runner.release(given);
      }
    },
  };
}

function takeStep(x: Storage, share: Share, channels: number, weighed: boolean, output: Storage): Step {
  return {
    inputs: [x],
    output,
    kernels: [takeRows],
    uploadBytes: 0,
    run: (runner) => moveRows(runner, takeRows, x, share, channels, weighed, output),
  };
}

async function moveRows(
  runner: Runner,
  kernel: typeof takeRows,
  from: Storage,
  { tokens, weights }: Share,
  channels: number,
  weighed: boolean,
  to: Storage,
): Promise<void> {
  const count = tokens.length * channels;
  await runner.queue.reserve(2 * alignUp(4 * tokens.length));
  const bindings = [
    whole(runner, from),
    sendWords(runner, Uint32Array.from(tokens)),
    sendWords(
      runner,
      Float32Array.from(weights, (weight) => (weighed ? weight : 1)),
    ),
    whole(runner, to),
  ];
  runner.queue.dispatch(kernel, bindings, { count, channels }, flatGroups(count));
}

async function readSource(runner: Runner, source: Source, elements: number): Promise<Float32Array> {
  if (source instanceof Storage) return runner.read(source);
  const values = new Float32Array(elements);
  runner.reader.readFloats(source, 0, new Uint8Array(values.buffer));
  return values;
}

export const mixtures = (recording: Recording): Pick<Ops<GpuNode>, "mixture"> => ({
  mixture: (x_TD, routing, expert) => {
    const shape = mixtureShape(x_TD, routing);
    const operands = {
      x: recording.storage(x_TD),
      logits: recording.storage(routing.logits_TE),
      bias: routing.bias_E?.data,
      routing,
      expert,
      channels: shape[1]!,
    };
    return recording.make(shape, (output) => mixtureStep(operands, (step) => recording.add(step), output));
  },
});
