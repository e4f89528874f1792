// Imports go one way (CONTRIBUTING, "Tree"): cli → verify → convert → table, formats. Adapters know the rule vocabulary
// and the op interface only; numerics knows weights only as key → tensor.
const only = (name, from, allowed, comment) => ({
  name,
  severity: "error",
  comment,
  from: { path: from },
  to: { path: "^(src|adapters|numerics)/", pathNot: allowed },
});

module.exports = {
  forbidden: [
    { name: "no-cycle", severity: "error", from: {}, to: { circular: true } },
    { name: "no-orphan-utils", severity: "error", from: {}, to: { path: "(^|/)utils?\\.ts$" } },
    only("formats-know-no-family", "^src/formats/", "^src/(formats/|errors\\.ts)", "formats are the ground floor"),
    only(
      "table-knows-no-format",
      "^src/table/",
      "^(src/(table/|errors\\.ts|formats/dtype\\.ts)|adapters/adapter\\.ts)",
      "",
    ),
    only(
      "encodings",
      "^src/encodings/",
      "^(src/(encodings|formats)/|src/errors\\.ts|adapters/adapter\\.ts)",
      "a table never sees an encoding",
    ),
    only(
      "convert",
      "^src/convert/",
      "^(src/(convert|table|encodings|formats)/|src/(errors|version)\\.ts|adapters/adapter\\.ts)",
      "the core takes an adapter as an argument",
    ),
    only(
      "verify",
      "^src/verify/",
      "^(src/(verify|convert|table|encodings|formats)/|src/errors\\.ts|adapters/adapter\\.ts|numerics/)",
      "only verify joins weights and graphs",
    ),
    only("report", "^src/report/", "^(src/(report|verify|convert|table|formats)/|src/errors\\.ts)", ""),
    only(
      "adapters",
      "^adapters/",
      "^(adapters/|src/table/|src/errors\\.ts|numerics/(graph|rope|routing|vision)\\.ts)",
      "adapters are data and graphs",
    ),
    only(
      "numerics",
      "^numerics/",
      "^(numerics/|src/formats/dtype\\.ts|src/errors\\.ts)",
      "numerics knows weights only as key → tensor",
    ),
    {
      name: "graphs-are-independent",
      severity: "error",
      comment:
        "native.ts and hf.ts, each with its parts (native-vision.ts), share ops and config only: a shared block would hide a bug on both sides",
      from: { path: "^adapters/[^/]+/(native|hf)(-vision|-activation)?\\.ts$" },
      to: {
        path: "^(src|adapters|numerics)/",
        pathNot: "^(numerics/(graph|rope|routing|vision)\\.ts|adapters/[^/]+/(config|$1-vision|$1-activation)\\.ts)$",
      },
    },
    {
      name: "a-family-keeps-to-itself",
      severity: "error",
      from: { path: "^adapters/([^/]+)/" },
      to: { path: "^adapters/[^/]+/", pathNot: "^adapters/$1/" },
    },
  ],
  options: {
    doNotFollow: { path: "node_modules" },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: "tsconfig.json" },
    enhancedResolveOptions: { extensions: [".ts", ".js", ".mjs"] },
  },
};
