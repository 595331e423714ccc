// Photographs: what a file says of its size, decoding, what becomes of the model's answer, encoding.
//
// What becomes of the answer is as in saga_mm/models/enhancement/finish.py.

export const MOST_PIXELS = 24e6;
export const LONGEST_SIDE = 16384;
const LUMA = [0.299, 0.587, 0.114];
// how far the curve of a brightness is searched, in stops
const MOST_STOPS = 12;
// pixels on each side whose mean says how bright a place became
const REACH = 8;

/** Something that the user can understand and mend. */
export class PictureError extends Error {}

/** A brightness that no curve gives a picture. */
export class Unreachable extends PictureError {}

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
 * The curve that gives an answer a mean luminance: its gain, for x -> gain x / (1 + (gain - 1) x).
 * @param {ImageData} image
 * @param {object} answer As StripModel gives it.
 * @param {{brightness: number | null, denoise: number}} wanted Without a brightness there is no curve, and null is returned.
 */
export function findCurve(image, answer, { brightness, denoise }) {
  if (brightness === null) return null;
  const counts = new Float64Array(answer.scale + 1);
  for (const row of answerRows(image, answer, denoise)) {
    for (let i = 0; i < row.length; i += 3) {
      for (let c = 0; c < 3; c++) counts[Math.round(clamped(row[i + c]) * answer.scale)] += LUMA[c];
    }
  }
  const total = counts.reduce((sum, count) => sum + count);
  const mean = (stops) =>
    counts.reduce((sum, count, i) => sum + count * curved(i / answer.scale, 2 ** stops), 0) / total;
  let [low, high] = [-MOST_STOPS, MOST_STOPS];
  if (brightness < mean(low) - 1e-3 || brightness > mean(high) + 1e-3) {
    const range = `${mean(low).toFixed(2)} to ${mean(high).toFixed(2)}`;
    throw new Unreachable(`A brightness of ${brightness} cannot be reached: this picture can have ${range}.`);
  }
  for (let step = 0; step < 40; step++) {
    const middle = (low + high) / 2;
    if (mean(middle) < brightness) low = middle;
    else high = middle;
  }
  return 2 ** high;
}

/**
 * A photograph and its answer mixed by strength: 0 gives the photograph, 1 the answer. Grey stays grey, opacity stays.
 * @param {ImageData} image
 * @param {{values: Int16Array, width: number, scale: number}} answer As StripModel gives it.
 * @param {{strength: number, denoise: number}} wanted With a denoise of 0 the answer has the photograph's own noise.
 * @param {number | null} curve As findCurve gives it.
 * @param {boolean} grey
 * @returns {ImageData}
 */
export function mix(image, answer, { strength, denoise }, curve, grey) {
  const { width, height, data } = image;
  const out = new ImageData(width, height);
  let i = 0;
  for (const row of answerRows(image, answer, denoise)) {
    for (let x = 0; x < row.length; x += 3, i += 4) {
      for (let c = 0; c < 3; c++) {
        const value = data[i + c];
        const bright = curve === null ? row[x + c] : 255 * curved(clamped(row[x + c]), curve);
        // the array rounds and clamps
        out.data[i + c] = value + (bright - value) * strength;
      }
      if (grey) {
        const luma = LUMA[0] * out.data[i] + LUMA[1] * out.data[i + 1] + LUMA[2] * out.data[i + 2];
        out.data.fill(luma, i, i + 3);
      }
      out.data[i + 3] = data[i + 3];
    }
  }
  return out;
}

const curved = (x, gain) => (gain * x) / (1 + (gain - 1) * x);

const clamped = (value) => Math.min(Math.max(value / 255, 0), 1);

/** The rows of an answer in grey levels, not rounded, with as much of the photograph's noise as denoise leaves. */
function* answerRows(image, answer, denoise) {
  const { width, height, data } = image;
  const level = 255 / answer.scale;
  const row = new Float32Array(3 * width);
  const near = new NearRows(image, answer);
  for (let y = 0; y < height; y++) {
    for (let i = 0, from = y * answer.width * 3; i < row.length; i++) row[i] = answer.values[from + i] * level;
    if (denoise < 1) {
      near.moveTo(y);
      for (let c = 0; c < 3; c++) near.addNoise(row, data, c, denoise);
    }
    yield row;
  }
}

/** Sums of each column over the rows near one, of the answer and of the photograph, for means around each pixel. */
class NearRows {
  constructor(image, answer) {
    Object.assign(this, { image, answer, rows: 0, y: -1 });
    this.answers = new Float64Array(3 * image.width);
    this.pixels = new Float64Array(3 * image.width);
  }

  /** Go to the next row. */
  moveTo(y) {
    if (y === 0) for (let first = 0; first < REACH; first++) this.add(first, 1);
    this.add(y + REACH, 1);
    this.add(y - REACH - 1, -1);
    this.y = y;
  }

  add(y, sign) {
    const { width, height, data } = this.image;
    if (y < 0 || y >= height) return;
    this.rows += sign;
    const { answers, pixels } = this;
    const { values } = this.answer;
    for (let i = 0, j = 3 * y * this.answer.width, k = 4 * y * width; i < 3 * width; i += 3, j += 3, k += 4) {
      for (let c = 0; c < 3; c++) {
        answers[i + c] += sign * values[j + c];
        pixels[i + c] += sign * data[k + c];
      }
    }
  }

  /** Mix a colour of a row of the answer with the photograph's, which is brought to the local mean of the answer. */
  addNoise(row, data, c, denoise) {
    const { answers, pixels } = this;
    const { width } = this.image;
    const level = 255 / this.answer.scale;
    let answered = 0;
    let seen = 0;
    let columns = 0;
    for (let x = -REACH; x < width; x++) {
      const enters = 3 * (x + REACH) + c;
      const leaves = 3 * (x - REACH - 1) + c;
      if (enters < 3 * width) {
        answered += answers[enters];
        seen += pixels[enters];
        columns++;
      }
      if (leaves >= 0) {
        answered -= answers[leaves];
        seen -= pixels[leaves];
        columns--;
      }
      if (x < 0) continue;
      const count = this.rows * columns;
      const own = (data[4 * (this.y * width + x) + c] * (level * answered + count)) / (seen + count);
      row[3 * x + c] = own + denoise * (row[3 * x + c] - own);
    }
  }
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
