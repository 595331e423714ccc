// Runs the exported enhancer over strips of rows, so that a photograph of any size fits into memory.
//
// The model is cut before each layer that looks at the whole picture. A read graph computes what lies between two cuts,
// for some rows and a halo around them; a write graph sums up those rows. When all rows are written, the sums are the
// state that the next read graph is given. So the tone is one for the whole picture, and strips leave no seams. Exposure,
// by which the picture passes before all else, is such a state too.
// saga_mm/onnx/strip_model.py does the same in Python.

const STRIP_BYTES = 256 * 2 ** 20;

export class StripModel {
  /**
   * Fetch the graphs and prepare them.
   * @param {object} ort ONNX Runtime.
   * @param {URL} folder Where plan.json and the graphs are; ends with a slash.
   */
  static async load(ort, folder) {
    const model = new StripModel();
    model.ort = ort;
    model.plan = await (await fetchFile(new URL('plan.json', folder))).json();
    model.sessions = new Map();
    const { exposure, graphs } = model.plan;
    const names = [exposure?.write, exposure?.gain, ...graphs.flatMap(({ read, write }) => [read, write])];
    for (const name of names.filter(Boolean)) {
      const content = await (await fetchFile(new URL(name, folder))).arrayBuffer();
      model.sessions.set(name, await ort.InferenceSession.create(content, { enableCpuMemArena: false }));
    }
    return model;
  }

  /**
   * The answer of the model before all that picture.js does with it.
   * @param {{width: number, height: number, data: Uint8ClampedArray}} image RGBA.
   * @param {number | null} wanted Mean luminance that the image is exposed to; null for what the model predicts.
   * @param {(share: number) => any} report Told after each strip which share of the work is done, and waited for.
   * @param {number} stripBytes What the computation on a strip may take, about.
   * @returns {Promise<{values: Int16Array, width: number, scale: number, brightness: number | null}>} RGB in units of
   *   1 / scale; rows are as wide as the padded image. The brightness is the one that was wanted or predicted.
   */
  async run(image, wanted, report, stripBytes = STRIP_BYTES) {
    const { unit, graphs, scale } = this.plan;
    const [units, columns] = [image.height, image.width].map((side) => Math.ceil(side / unit));
    const maps = new Map();
    const work = graphs.reduce((sum, graph) => sum + graph.floats, 0) * units;
    const { gain, brightness } = await this.expose(image, wanted, stripBytes);
    let state = [];
    let done = 0;
    for (const [index, graph] of graphs.entries()) {
      for (const name of graph.gives) maps.set(name, this.newMap(name, units, columns));
      const height = Math.floor(stripBytes / (4 * graph.floats * unit * unit * columns)) - 2 * graph.halo;
      const sums = [];
      for (let start = 0; start < units; ) {
        const stop = Math.min(start + Math.max(height, 1), units);
        const strip = { start, stop, units, columns };
        await this.read(graph, strip, maps, image, graph.gain ? { gain } : {}, state);
        if (graph.write) await this.write(graph, strip, maps, sums);
        done += graph.floats * (stop - start);
        await report(done / work);
        start = stop;
      }
      state = sums;
      for (const name of maps.keys()) {
        const needed = graphs.slice(index + 1).some((later) => later.maps.includes(name));
        if (!needed && name !== 'answer') maps.delete(name);
      }
    }
    return { values: maps.get('answer'), width: columns * unit, scale, brightness };
  }

  /** The gain of the exposure, and the brightness that it is for; nothing of a model without one. */
  async expose({ width, height, data }, wanted, stripBytes) {
    const { exposure } = this.plan;
    if (!exposure) return { brightness: null };
    const { sparse, floats } = exposure;
    const rows = Math.max(Math.floor(stripBytes / (4 * floats * sparse * width)), 1) * sparse;
    let levels = null;
    for (let start = 0; start < height; start += rows) {
      const count = Math.min(rows, height - start);
      const values = new Uint8Array(data.buffer, data.byteOffset + start * width * 4, count * width * 4);
      const image = new this.ort.Tensor('uint8', values, [count, width, 4]);
      const written = (await this.sessions.get(exposure.write).run({ image })).levels;
      levels ??= new Mean(written.dims, written.data.length);
      levels.add(written.data, Math.ceil(count / sparse) / Math.ceil(height / sparse));
    }
    const inputs = { levels: levels.tensor(this.ort), wanted: new this.ort.Tensor('float32', [wanted ?? 0], [1]) };
    const { gain, brightness } = await this.sessions.get(exposure.gain).run(inputs);
    return { gain, brightness: brightness.data[0] };
  }

  newMap(name, units, columns) {
    const { places, channels } = this.plan.maps[name];
    const size = units * columns * places * places * channels;
    return name === 'answer' ? new Int16Array(size) : new Float32Array(size);
  }

  /** Numbers in the rows of a map that belong to one row of units. */
  rowSize(name, columns) {
    const { places, channels } = this.plan.maps[name];
    return places * places * columns * channels;
  }

  tensor(name, values, units, columns) {
    const { places, channels } = this.plan.maps[name];
    const type = name === 'image' ? 'uint8' : 'float32';
    return new this.ort.Tensor(type, values, [units * places, columns * places, channels]);
  }

  /** Fill the rows of a strip in the maps that a graph gives. */
  async read(graph, { start, stop, units, columns }, maps, image, given, state) {
    const [first, last] = [Math.max(start - graph.halo, 0), Math.min(stop + graph.halo, units)];
    const inputs = { ...given };
    graph.state.forEach((name, i) => (inputs[name] = state[i].tensor(this.ort)));
    for (const name of graph.maps) {
      const size = this.rowSize(name, columns);
      const rows =
        name === 'image'
          ? paddedRows(image, first * this.plan.unit, last * this.plan.unit, columns * this.plan.unit)
          : maps.get(name).subarray(first * size, last * size);
      inputs[name] = this.tensor(name, rows, last - first, columns);
    }
    const outputs = await this.sessions.get(graph.read).run(inputs);
    for (const name of graph.gives) {
      const size = this.rowSize(name, columns);
      const kept = outputs[name].data.subarray((start - first) * size, (stop - first) * size);
      maps.get(name).set(kept, start * size);
    }
  }

  /** Add what the rows of a strip write to the state that the next graph reads. */
  async write(graph, { start, stop, units, columns }, maps, sums) {
    const name = graph.gives.at(-1);
    const size = this.rowSize(name, columns);
    const rows = maps.get(name).subarray(start * size, stop * size);
    const outputs = await this.sessions.get(graph.write).run({ map: this.tensor(name, rows, stop - start, columns) });
    const share = (stop - start) / units;
    this.sessions.get(graph.write).outputNames.forEach((key, i) => {
      sums[i] ??= new Mean(outputs[key].dims, outputs[key].data.length);
      sums[i].add(outputs[key].data, share);
    });
  }
}

/** A weighed mean of tensors of one shape. */
class Mean {
  constructor(dims, length) {
    this.dims = dims;
    this.values = new Float64Array(length);
  }

  add(values, share) {
    values.forEach((value, i) => (this.values[i] += share * value));
  }

  tensor(ort) {
    return new ort.Tensor('float32', Float32Array.from(this.values), this.dims);
  }
}

/** Rows of an RGBA image, its last row and column repeated below and to the right. */
function paddedRows({ width, height, data }, first, last, paddedWidth) {
  const rows = new Uint8Array((last - first) * paddedWidth * 4);
  for (let y = first; y < last; y++) {
    const source = Math.min(y, height - 1) * width * 4;
    const target = (y - first) * paddedWidth * 4;
    rows.set(data.subarray(source, source + width * 4), target);
    for (let x = width; x < paddedWidth; x++) rows.copyWithin(target + x * 4, target + width * 4 - 4, target + width * 4);
  }
  return rows;
}

async function fetchFile(url) {
  const answer = await fetch(url);
  if (!answer.ok) throw new Error(`${url.pathname.split('/').pop()} cannot be loaded (${answer.status})`);
  return answer;
}
