// Photographs: what a file says of its size, decoding, the mix of a photograph and its enhanced answer, encoding.

export const MOST_PIXELS = 24e6;
export const LONGEST_SIDE = 16384;

/** Something that the user can understand and mend. */
export class PictureError extends Error {}

/**
 * Decode a file, upright by its EXIF orientation, in sRGB.
 * @param {Blob} file
 * @returns {Promise<ImageData>}
 */
export async function decode(file) {
  if (file.size === 0) throw new PictureError('The file is empty.');
  const stated = storedSize(new DataView(await file.slice(0, 2 ** 20).arrayBuffer()));
  if (stated) checkSize(stated.width, stated.height);
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, { imageOrientation: 'from-image', premultiplyAlpha: 'none' });
  } catch {
    throw new PictureError('This file is damaged, or no picture that this browser can open. Try a JPEG or PNG file.');
  }
  const { width, height } = bitmap;
  checkSize(width, height);
  const context = new OffscreenCanvas(width, height).getContext('2d', { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return context.getImageData(0, 0, width, height);
}

function checkSize(width, height) {
  if (width * height > MOST_PIXELS || Math.max(width, height) > LONGEST_SIDE) {
    throw new PictureError(
      `The picture has ${width} × ${height} pixels. This page takes up to ${MOST_PIXELS / 1e6} megapixels and ` +
        `${LONGEST_SIDE} pixels a side; the command “saga-mm enhance” takes pictures of any size.`,
    );
  }
}

/** Size in the header of a PNG, GIF or JPEG file, not turned; null of other files. */
export function storedSize(view) {
  if (view.byteLength >= 24 && view.getUint32(0) === 0x89504e47) {
    return { width: view.getUint32(16), height: view.getUint32(20) };
  }
  if (view.byteLength >= 10 && view.getUint32(0) === 0x47494638) {
    return { width: view.getUint16(6, true), height: view.getUint16(8, true) };
  }
  if (view.byteLength < 4 || view.getUint16(0) !== 0xffd8) return null;
  for (let at = 2; at + 9 <= view.byteLength; at += 2 + view.getUint16(at + 2)) {
    const marker = view.getUint16(at);
    if (marker < 0xff01) return null;
    // the start of a frame, not the tables that have numbers among them
    if (marker >= 0xffc0 && marker <= 0xffcf && ![0xffc4, 0xffc8, 0xffcc].includes(marker)) {
      return { width: view.getUint16(at + 7), height: view.getUint16(at + 5) };
    }
  }
  return null;
}

/** Whether each pixel of RGBA data has three equal channels. */
export function isGrey(data) {
  for (let i = 0; i < data.length; i += 4) {
    if (data[i] !== data[i + 1] || data[i] !== data[i + 2]) return false;
  }
  return true;
}

/**
 * A photograph and its answer mixed by strength: 0 gives the photograph, 1 the answer. Grey stays grey, opacity stays.
 * @param {ImageData} image
 * @param {{values: Int16Array, width: number, scale: number}} answer As StripModel gives it.
 * @param {number} strength
 * @param {boolean} grey
 * @returns {ImageData}
 */
export function mix(image, answer, strength, grey) {
  const { width, height, data } = image;
  const out = new ImageData(width, height);
  const level = 255 / answer.scale;
  for (let y = 0; y < height; y++) {
    let from = y * answer.width * 3;
    for (let i = y * width * 4, end = i + width * 4; i < end; i += 4, from += 3) {
      for (let c = 0; c < 3; c++) {
        const value = data[i + c];
        // the array rounds and clamps
        out.data[i + c] = value + (answer.values[from + c] * level - value) * strength;
      }
      if (grey) {
        const luma = 0.299 * out.data[i] + 0.587 * out.data[i + 1] + 0.114 * out.data[i + 2];
        out.data.fill(luma, i, i + 3);
      }
      out.data[i + 3] = data[i + 3];
    }
  }
  return out;
}

/** A bitmap of an image that is no longer than a side, for the screen. */
export async function preview(image, side) {
  const factor = Math.min(1, side / Math.max(image.width, image.height));
  const [width, height] = [image.width, image.height].map((length) => Math.max(1, Math.round(length * factor)));
  return createImageBitmap(image, { resizeWidth: width, resizeHeight: height, resizeQuality: 'high' });
}

/** The image as a file of a type such as image/png. */
export async function encode(image, type) {
  const canvas = new OffscreenCanvas(image.width, image.height);
  canvas.getContext('2d').putImageData(image, 0, 0);
  return canvas.convertToBlob({ type, quality: 0.95 });
}

/** Whether what is drawn on a canvas is read back as it is. Protection against fingerprinting may add noise. */
export function canvasIsTrue() {
  const context = new OffscreenCanvas(16, 16).getContext('2d', { willReadFrequently: true });
  const drawn = new ImageData(16, 16);
  drawn.data.forEach((_, i) => (drawn.data[i] = i % 4 === 3 ? 255 : (i * 37) % 256));
  context.putImageData(drawn, 0, 0);
  return context.getImageData(0, 0, 16, 16).data.every((value, i) => value === drawn.data[i]);
}
