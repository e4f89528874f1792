// PNG and JPEG files as transformers sees them: upright, three colours, 8 bits each, no colour management.
import type { Metadata } from "sharp";
import { EnvironmentError, InputError } from "../../base/errors.ts";
import { installLine, isMissing } from "../../base/optional-packages.ts";
import { messageOf, readBytes } from "../inputs/text-files.ts";
import type { RgbImage } from "./resize.ts";

/** @throws InputError IMAGE_INVALID or IMAGE_UNSUPPORTED; EnvironmentError where the decoder is not installed */
export async function decodeImage(file: string): Promise<RgbImage> {
  const sharp = await loadSharp();
  try {
    // An embedded profile or an alpha channel changes nothing in transformers, which reads the stored colours.
    const image = sharp(readBytes(file), { autoOrient: true, ignoreIcc: true, failOn: "warning" });
    checkKind(await image.metadata(), file);
    const decoded = image.toColourspace("srgb").removeAlpha().raw({ depth: "uchar" });
    const { data, info } = await decoded.toBuffer({ resolveWithObject: true });
    return { height: info.height, width: info.width, rgb: data };
  } catch (cause) {
    if (cause instanceof InputError) throw cause;
    throw new InputError("IMAGE_INVALID", `${file}: cannot be read as an image: ${messageOf(cause)}`, {
      file,
      cause,
      expected: "a PNG or JPEG file",
      help: "check the path, and that an image viewer opens the file",
    });
  }
}

function checkKind({ format, depth, space }: Metadata, file: string): void {
  const refuse = (found: string, expected: string): never => {
    throw new InputError("IMAGE_UNSUPPORTED", `${file}: an image of ${found}`, {
      file,
      expected,
      found,
      help: "save it as PNG with 8 bits a channel, in RGB",
    });
  };
  if (format !== "png" && format !== "jpeg") refuse(`format ${format}`, "PNG or JPEG");
  if (depth !== "uchar") refuse("16 bits a channel", "8 bits a channel");
  if (space === "cmyk") refuse("four inks (CMYK)", "RGB or grey");
}

/** @throws EnvironmentError IMAGE_DECODER_MISSING */
export async function loadSharp() {
  try {
    return (await import("sharp")).default;
  } catch (cause) {
    const missing = isMissing("sharp", cause);
    throw new EnvironmentError(
      "IMAGE_DECODER_MISSING",
      `the npm package \`sharp\` ${missing ? "is not installed" : "does not load on this machine"}`,
      {
        cause,
        // Its advice follows on further lines.
        found: messageOf(cause).split("\n")[0]!,
        help: `images need it${missing ? "" : ", with its own optional dependencies"}: ${installLine("sharp")}; or give pixels with --inputs`,
      },
    );
  }
}
