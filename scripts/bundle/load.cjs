// Loads the bundled programs, compiled beforehand where this is the Node.js that they were built with: compiling takes longer than
// most commands do.
"use strict";
const { readFileSync } = require("node:fs");
const Module = require("node:module");
const { join } = require("node:path");
const { Script } = require("node:vm");
const { crc32 } = require("node:zlib");

const bundle = join(__dirname, "programs.js");
/** What V8 made of the bundle is for the same V8 alone. */
const compiled = join(__dirname, `compiled-${process.version}-${process.platform}-${process.arch}.bin`);

/** A function that is called as Node.js calls a module. */
function compile(text, cachedData) {
  // V8 keeps the name as well: that of the folder would be where it was built.
  return new Script(Module.wrap(text.toString("latin1")), { filename: "programs.js", cachedData });
}

const source = () => readFileSync(bundle);

/**
 * What is before the code in its file: V8 itself looks at neither, runs damaged code, and knows its source by the length alone.
 */
function sums(text, code) {
  const head = Buffer.alloc(HEAD_BYTES);
  head.writeUInt32LE(crc32(text), 0);
  head.writeUInt32LE(crc32(code), 4);
  return head;
}
const HEAD_BYTES = 8;

/** V8's code for the bundle; undefined where there is none, it was damaged, or it is of another bundle. */
function codeFor(text) {
  let file;
  try {
    file = readFileSync(compiled);
  } catch {
    return undefined;
  }
  const code = file.subarray(HEAD_BYTES);
  return file.subarray(0, HEAD_BYTES).equals(sums(text, code)) ? code : undefined;
}

function run(script) {
  const module = { exports: {} };
  script.runInThisContext()(module.exports, require, module, bundle, __dirname);
  return module.exports;
}

/** By name, functions that start them. */
function programs() {
  const text = source();
  const code = codeFor(text);
  // Refused by V8, say because of an option, it is compiled anew.
  if (code !== undefined) return run(compile(text, code));
  // From 22.1 on Node.js keeps what it compiled, in a folder of its own.
  Module.enableCompileCache?.();
  return require(bundle);
}

/** What the bundle imports: packages, and files of its user's. */
const imported = (specifier) => import(specifier);

module.exports = { compiled, source, compile, sums, codeFor, run, programs, imported };
