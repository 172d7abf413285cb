// Reads QR codes from frames and photos. The decoder and its wasm come from our own server, and only when a camera is opened.
import { prepareZXingModule, type ReaderOptions, readBarcodes } from "zxing-wasm/reader";
import wasm from "zxing-wasm/reader/zxing_reader.wasm?url";

const FRAME_PX_MAX = 1_280;
const PHOTO_PX_MAX = 2_400;
const options: ReaderOptions = {
  formats: ["QRCode"],
  tryHarder: true,
  tryRotate: true,
  tryInvert: true,
  tryDownscale: true,
  maxNumberOfSymbols: 1,
};

let ready: Promise<unknown> | undefined;

/** Fetches and starts the decoder; call it as early as possible, it is done once. */
export function warmUp(): Promise<unknown> {
  ready ??= prepareZXingModule({
    overrides: { locateFile: (path: string, prefix: string) => (path.endsWith(".wasm") ? wasm : prefix + path) },
    fireImmediately: true,
  });
  return ready;
}

const canvas = typeof document === "undefined" ? undefined : document.createElement("canvas");

function pixels(source: CanvasImageSource, width: number, height: number, max: number): ImageData | null {
  const scale = Math.min(1, max / Math.max(width, height));
  if (!canvas || width === 0 || height === 0) return null;
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  if (!context) return null;
  context.drawImage(source, 0, 0, canvas.width, canvas.height);
  return context.getImageData(0, 0, canvas.width, canvas.height);
}

async function read(image: ImageData | null): Promise<string | null> {
  if (!image) return null;
  await warmUp();
  const [hit] = await readBarcodes(image, options);
  return hit?.isValid ? hit.text : null;
}

/** The text of a code in the video's present frame, or null. */
export function readFrame(video: HTMLVideoElement): Promise<string | null> {
  return read(pixels(video, video.videoWidth, video.videoHeight, FRAME_PX_MAX));
}

/** The text of a code in a chosen photo, or null. */
export async function readPhoto(file: Blob): Promise<string | null> {
  const bitmap = await createImageBitmap(file);
  try {
    return await read(pixels(bitmap, bitmap.width, bitmap.height, PHOTO_PX_MAX));
  } finally {
    bitmap.close();
  }
}
