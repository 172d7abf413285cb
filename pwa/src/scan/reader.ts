// Reads QR codes from frames and photos. The decoder and its wasm come from our own server, and only when a camera is opened.
import { prepareZXingModule, type ReaderOptions, readBarcodes } from "zxing-wasm/reader";
import wasm from "zxing-wasm/reader/zxing_reader.wasm?url";

const FRAME_PX_MAX = 1_280;
const PHOTO_PX_MAX = 2_400;
const WHOLE_PX_MAX = 4_096;
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

/** The text of a code in a chosen photo, or null: looked at as a whole, then with every pixel, for a small tag in a large picture. */
export async function readPhoto(file: Blob): Promise<string | null> {
  // The browser turns it as its EXIF says; a code is read whichever way it lies.
  const bitmap = await createImageBitmap(file);
  try {
    const text = await read(pixels(bitmap, bitmap.width, bitmap.height, PHOTO_PX_MAX));
    if (text !== null || Math.max(bitmap.width, bitmap.height) <= PHOTO_PX_MAX) return text;
    return await read(pixels(bitmap, bitmap.width, bitmap.height, WHOLE_PX_MAX));
  } finally {
    bitmap.close();
  }
}

/** What the server takes. */
const UPLOAD_BYTES_MAX = 8 * 1024 * 1024;
const SENT_TYPES = ["image/jpeg", "image/png", "image/webp"];

/** The photo as the server takes it: as it is, or made smaller and a JPEG where this browser can open it; null where neither will do. */
export async function forServer(file: Blob): Promise<Blob | null> {
  if (file.size <= UPLOAD_BYTES_MAX && SENT_TYPES.includes(file.type)) return file;
  const bitmap = await createImageBitmap(file).catch(() => null);
  if (!bitmap || !canvas || !pixels(bitmap, bitmap.width, bitmap.height, WHOLE_PX_MAX)) return null;
  bitmap.close();
  const smaller = await new Promise<Blob | null>((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.85));
  return smaller && smaller.size <= UPLOAD_BYTES_MAX ? smaller : null;
}
