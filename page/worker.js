// All that takes time, away from the page, which stays responsive: decoding, the model, mixing, encoding.
//
// Takes messages {open: file, wanted}, {mix: wanted}, {save: wanted, type} and {stop: true}; wanted is {strength, brightness,
// denoise}. Answers with {opened: {width, height, bitmap}}, {progress: share}, {mixed: bitmap, brightness, used}, where used
// is the brightness that a null stands for, {saved: blob}, {refused: text}, after which all is as before, and {failed: text}.

import * as ort from './ort/ort.wasm.min.mjs';
import { canvasIsTrue, decode, encode, findCurve, isGrey, mix, PictureError, preview, Unreachable } from './picture.js';
import { StripModel } from './strips.js';

const PREVIEW_SIDE = 2048;

ort.env.wasm.wasmPaths = new URL('./ort/', import.meta.url).href;
// threads share memory, which browsers allow on isolated pages alone
ort.env.wasm.numThreads = self.crossOriginIsolated ? Math.min(navigator.hardwareConcurrency || 1, 8) : 1;

let model = null;
let photo = null;
// what was asked for last, and the brightness of the run at work, of which there is one at most
let newest = null;
let running;
let run = 0;

/** A run that was stopped, or whose brightness is no longer asked for. */
class Stopped extends Error {}

const tasks = {
  async open(file, { wanted }) {
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
    photo = { image, grey: isGrey(image.data), answer: null };
    await tasks.mix(wanted);
  },

  async mix(wanted) {
    newest = wanted;
    if (!photo.answer || photo.brightness !== wanted.brightness) {
      if (running === wanted.brightness) return;
      await answer(wanted.brightness);
    } else {
      tasks.stop();
    }
    const mixed = await preview(finished(newest), PREVIEW_SIDE);
    postMessage({ mixed, brightness: photo.brightness, used: photo.answer.brightness }, [mixed]);
  },

  async save(wanted, { type }) {
    postMessage({ saved: await encode(finished(wanted), type) });
  },

  stop() {
    run++;
    running = undefined;
  },
};

/** Have the model answer, exposed to a brightness, in place of the answer at hand. */
async function answer(brightness) {
  const mine = ++run;
  running = brightness;
  const report = async (progress) => {
    postMessage({ progress });
    // messages that have come meanwhile
    await new Promise((resolve) => setTimeout(resolve));
    if (mine !== run) throw new Stopped();
  };
  try {
    const made = await (await model).run(photo.image, brightness, report);
    if (mine !== run) throw new Stopped();
    const curve = curveOf(made, brightness, newest.denoise);
    Object.assign(photo, { answer: made, brightness, curve });
  } finally {
    if (mine === run) running = undefined;
  }
}

/** The photograph as it is wanted. */
function finished({ strength, denoise }) {
  const { image, answer, brightness, grey } = photo;
  if (photo.curve.denoise !== denoise) photo.curve = curveOf(answer, brightness, denoise);
  return mix(image, answer, { strength, denoise }, photo.curve.gain, grey);
}

/** The curve of a brightness, which is found once for an answer and a denoise. */
function curveOf(answer, brightness, denoise) {
  return { denoise, gain: findCurve(photo.image, answer, { brightness, denoise }) };
}

self.onmessage = async ({ data }) => {
  const task = Object.keys(tasks).find((name) => name in data);
  try {
    await tasks[task](data[task], data);
  } catch (error) {
    if (error instanceof Stopped) return;
    postMessage(error instanceof Unreachable ? { refused: error.message } : { failed: explain(error) });
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
