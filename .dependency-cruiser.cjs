// Imports go down, never up, and never across a floor (docs/architecture.md). Rooms of one line stand on one floor: they do
// not import each other.
const FLOORS = [
  ["src/base"],
  ["src/formats", "src/table", "numerics"],
  ["src/family", "src/encodings", "src/hub"],
  ["adapters", "src/views", "src/foreign"],
  ["src/model", "src/output", "src/faults"],
  ["src/convert", "src/merge"],
  ["src/verify", "src/parity", "src/mutate"],
  ["src/gate", "src/push"],
  ["src/report"],
  ["src/cli"],
];

/** What a room may import of the floors below, where that is less than all of them. */
const ONLY = {
  "src/encodings": ["src/base", "src/formats", "src/family"],
  "src/hub": ["src/base", "src/formats"],
  "src/family": ["src/base", "src/table/rule\\.ts$", "numerics/graph\\.ts$"],
  adapters: ["src/base", "src/table/rule\\.ts$", "src/family", "numerics/(graph|rope|routing)\\.ts$"],
  "src/views": ["src/base", "src/formats", "src/table", "src/family", "src/encodings"],
  "src/foreign": ["src/base", "src/formats", "src/encodings"],
  "src/model": ["src/base", "src/formats", "src/table", "src/family", "src/encodings", "src/views", "src/foreign"],
  "src/output": ["src/base", "src/formats", "src/views"],
  "src/faults": ["src/base", "src/formats", "src/table", "src/family", "src/views"],
  "src/convert": [
    "src/base",
    "src/formats",
    "src/table",
    "src/family",
    "src/encodings",
    "src/views",
    "src/foreign",
    "src/model",
    "src/output",
  ],
};

const below = (level) => FLOORS.slice(0, level).flat();
const paths = (rooms) => rooms.map((room) => (room.endsWith("$") ? room : `${room}/`)).join("|");

const floors = FLOORS.flatMap((rooms, level) =>
  rooms.map((room) => ({
    name: `floor-${level}-${room.split("/").at(-1)}`,
    severity: "error",
    comment: "a file imports from its own room or from the floors below",
    from: { path: `^${room}/` },
    to: {
      path: "^(src|adapters|numerics)/",
      // The core takes an adapter as an argument: whoever calls it looks one up.
      pathNot: `^(${paths([room, ...(ONLY[room] ?? below(level).filter((each) => each !== "adapters" || room === "src/cli"))])})`,
    },
  })),
);

module.exports = {
  forbidden: [
    { name: "no-cycle", severity: "error", from: {}, to: { circular: true } },
    { name: "no-orphan-utils", severity: "error", from: {}, to: { path: "(^|/)utils?\\.ts$" } },
    ...floors,
    {
      name: "the-disk-has-few-doors",
      severity: "error",
      comment:
        "what lies beside a checkpoint is read through its Folder (docs/decisions/012); output writes, hub reads its cache and token, the command reads and writes what its user names, doctor asks how much room there is",
      from: {
        path: "^(src|adapters|numerics)/",
        pathNot: "^src/(formats/io|output|hub|cli)/|^src/parity/(inputs/text-files|doctor)\\.ts$",
      },
      to: { path: "^(node:)?fs(/promises)?$" },
    },
    {
      name: "graphs-are-independent",
      severity: "error",
      comment:
        "native.ts and hf.ts, each with its parts (native-vision.ts, common/gated-delta/hf.ts), share ops and config only: a shared block would hide a bug on both sides",
      from: { path: "^adapters/(?:common/)?[^/]+/(native|hf)(-vision|-activation)?\\.ts$" },
      to: {
        path: "^(src|adapters|numerics)/",
        pathNot:
          "^(numerics/(graph|rope|routing)\\.ts|adapters/(common/)?[^/]+/(config|$1-vision|$1-activation)\\.ts|adapters/common/gated-delta/$1\\.ts)$",
      },
    },
    {
      name: "graphs-of-megatron-are-independent",
      severity: "error",
      comment:
        "what GPTModel computes is one code upstream, and one here; it shares nothing with tables and with hf.ts",
      from: {
        path: "^adapters/([^/]+/native-megatron|trainers/megatron-graph(-moe|-routing|-vision)?|common/gated-delta/megatron-graph)\\.ts$",
      },
      to: {
        path: "^(src|adapters|numerics)/",
        pathNot:
          "^(numerics/(graph|rope|routing)\\.ts|adapters/((common/)?[^/]+/config|trainers/megatron-graph(-moe|-routing|-vision)?|common/gated-delta/megatron-graph)\\.ts|src/base/errors\\.ts)$",
      },
    },
    {
      name: "a-family-keeps-to-itself",
      severity: "error",
      comment: "what families share stands in common or, of a trainer, in trainers",
      from: { path: "^adapters/([^/]+)/" },
      to: { path: "^adapters/[^/]+/", pathNot: "^adapters/($1|common|trainers)/" },
    },
    {
      name: "what-families-share-knows-none",
      severity: "error",
      from: { path: "^adapters/(common|trainers)/" },
      to: { path: "^adapters/", pathNot: "^adapters/(common|trainers)/" },
    },
  ],
  options: {
    doNotFollow: { path: "node_modules" },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: "tsconfig.json" },
    enhancedResolveOptions: { extensions: [".ts", ".js", ".mjs"] },
  },
};
