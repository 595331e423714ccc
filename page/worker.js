// All that takes time, away from the page, which stays responsive: decoding, the model, mixing, encoding.
//
// Takes messages {open: file}, {mix: strength} and {save: strength, type}. Answers with {opened: {width, height, bitmap}},
// {progress: share}, {mixed: bitmap}, {saved: blob} and {failed: text}.

import * as ort from './ort/ort.wasm.min.mjs';
import { canvasIsTrue, decode, encode, isGrey, mix, PictureError, preview } from './picture.js';
import { StripModel } from './strips.js';

const PREVIEW_SIDE = 2048;

ort.env.wasm.wasmPaths = new URL('./ort/', import.meta.url).href;
// threads share memory, which browsers allow on isolated pages alone
ort.env.wasm.numThreads = self.crossOriginIsolated ? Math.min(navigator.hardwareConcurrency || 1, 8) : 1;

let model = null;
let photo = null;

const tasks = {
  async open(file) {
    photo = null;
    if (!canvasIsTrue()) {
      throw new PictureError(
        'This browser changes the pictures that a page reads, to protect against fingerprinting. Allow this page to ' +
          'read canvases, or use another browser.',
      );
    }
    model ??= StripModel.load(ort, new URL('./model/', import.meta.url));
    const image = await decode(file);
    const bitmap = await preview(image, PREVIEW_SIDE);
    postMessage({ opened: { width: image.width, height: image.height, bitmap } }, [bitmap]);
    const answer = await (await model).run(image, (progress) => postMessage({ progress }));
    photo = { image, answer, grey: isGrey(image.data) };
  },

  async mix(strength) {
    const mixed = await preview(mix(photo.image, photo.answer, strength, photo.grey), PREVIEW_SIDE);
    postMessage({ mixed }, [mixed]);
  },

  async save(strength, { type }) {
    postMessage({ saved: await encode(mix(photo.image, photo.answer, strength, photo.grey), type) });
  },
};

self.onmessage = async ({ data }) => {
  const task = Object.keys(tasks).find((name) => name in data);
  try {
    await tasks[task](data[task], data);
    if (task === 'open') await tasks.mix(data.strength);
  } catch (error) {
    postMessage({ failed: explain(error) });
  }
};

function explain(error) {
  if (error instanceof PictureError) return error.message;
  const text = String(error?.message ?? error);
  if (error instanceof RangeError || /memory|allocation|bad_alloc/i.test(text)) {
    return 'There is not enough memory in this browser for a picture of this size. Try a smaller one.';
  }
  return `It failed: ${text.split('\n')[0]}`;
}
