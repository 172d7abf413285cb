// A photo made fit for the phone and the line before it is kept: turned upright, at most 2560 px and 2 MB, as a JPEG that carries no place and no maker.
import { AppError } from "../app/types";

export const EDGE_PX_MAX = 2560;
export const PHOTO_BYTES_MAX = 2_000_000;
const SOURCE_BYTES_MAX = 80_000_000;
const QUALITIES = [0.85, 0.75, 0.6, 0.45];

export interface Photo {
  bytes: ArrayBuffer;
  type: "image/jpeg";
  w: number;
  h: number;
}

/** Throws AppError `media.unreadable`. Drawing anew drops EXIF; the browser turns the picture as its EXIF says while decoding. */
export async function downsize(file: Blob): Promise<Photo> {
  if (file.size === 0 || file.size > SOURCE_BYTES_MAX) throw new AppError("media.unreadable");
  let picture: ImageBitmap | HTMLImageElement;
  try {
    picture = await createImageBitmap(file, { imageOrientation: "from-image" });
  } catch {
    picture = await viaElement(file);
  }
  try {
    const full =
      "naturalWidth" in picture ? { w: picture.naturalWidth, h: picture.naturalHeight } : { w: picture.width, h: picture.height };
    if (!full.w || !full.h) throw new AppError("media.unreadable");
    let scale = Math.min(1, EDGE_PX_MAX / Math.max(full.w, full.h));
    for (;;) {
      const w = Math.max(1, Math.round(full.w * scale));
      const h = Math.max(1, Math.round(full.h * scale));
      for (const quality of QUALITIES) {
        const blob = await draw(picture, w, h, quality);
        if (blob.size <= PHOTO_BYTES_MAX) return { bytes: await blob.arrayBuffer(), type: "image/jpeg", w, h };
      }
      scale *= 0.75;
    }
  } finally {
    if ("close" in picture) picture.close();
  }
}

async function draw(picture: ImageBitmap | HTMLImageElement, w: number, h: number, quality: number): Promise<Blob> {
  if (typeof OffscreenCanvas !== "undefined") {
    const canvas = new OffscreenCanvas(w, h);
    paint(canvas.getContext("2d"), picture, w, h);
    return canvas.convertToBlob({ type: "image/jpeg", quality });
  }
  const canvas = Object.assign(document.createElement("canvas"), { width: w, height: h });
  paint(canvas.getContext("2d"), picture, w, h);
  const blob = await new Promise<Blob | null>((resolve) => canvas.toBlob(resolve, "image/jpeg", quality));
  canvas.width = 0; // iPhones count canvases that are only waiting to be collected
  if (!blob) throw new AppError("media.unreadable");
  return blob;
}

function paint(
  context: CanvasRenderingContext2D | OffscreenCanvasRenderingContext2D | null,
  picture: CanvasImageSource,
  w: number,
  h: number,
): void {
  if (!context) throw new AppError("media.unreadable");
  context.fillStyle = "#fff"; // JPEG knows no transparency
  context.fillRect(0, 0, w, h);
  context.imageSmoothingQuality = "high";
  context.drawImage(picture, 0, 0, w, h);
}

async function viaElement(file: Blob): Promise<HTMLImageElement> {
  if (typeof Image === "undefined") throw new AppError("media.unreadable");
  const url = URL.createObjectURL(file);
  try {
    const image = new Image();
    image.src = url;
    await image.decode();
    return image;
  } catch {
    throw new AppError("media.unreadable");
  } finally {
    URL.revokeObjectURL(url);
  }
}
