// Stands for the package `escalade` in the bundled command: yargs looks through all folders above the working directory for the
// version of who uses it, before it is told.
const { join } = require("node:path");
module.exports = () => join(__dirname, "package.json");
