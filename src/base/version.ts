/** Version of the package; a test holds it equal to package.json. */
export const VERSION = "0.1.0";
/** The oldest Node.js that it runs on, as `engines` of package.json says; the same test holds this equal. */
export const LEAST_NODE = "20.19";
