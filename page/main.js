// The page: choosing a photograph, the divider between before and after, strength, download.

const $ = (id) => document.getElementById(id);
const EXTENSIONS = { 'image/png': 'png', 'image/jpeg': 'jpg' };

let worker = null;
let name = 'photograph';
let mixing = false;
let wanted = null;

/** What this browser lacks of what the page needs, in words. */
function lacks() {
  // a function that makes a vector of 128 bits
  const simd = [0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11];
  const needs = {
    WebAssembly: typeof WebAssembly === 'object',
    'WebAssembly SIMD': typeof WebAssembly === 'object' && WebAssembly.validate(new Uint8Array(simd)),
    'web workers': typeof Worker === 'function',
    OffscreenCanvas: typeof OffscreenCanvas === 'function',
    createImageBitmap: typeof createImageBitmap === 'function',
  };
  return Object.keys(needs).filter((need) => !needs[need]);
}

function show(section) {
  for (const each of ['work', 'result']) $(each).hidden = each !== section;
}

function say(text) {
  $('message').textContent = text;
  $('message').hidden = !text;
}

function stop() {
  worker?.terminate();
  worker = null;
  mixing = false;
  wanted = null;
}

function open(file) {
  stop();
  say('');
  name = (file.name || 'photograph').replace(/\.[^.]*$/, '');
  $('format').value = file.type === 'image/jpeg' ? 'image/jpeg' : 'image/png';
  $('progress').removeAttribute('value');
  $('state').textContent = 'Loading the model';
  show('work');
  worker = new Worker('worker.js', { type: 'module' });
  worker.onmessage = receive;
  worker.onerror = () => fail('The program of this page cannot be loaded. Reload the page.');
  worker.postMessage({ open: file, strength: Number($('strength').value) });
}

function fail(text) {
  stop();
  show(null);
  say(text);
}

function receive({ data }) {
  if (data.failed) {
    fail(data.failed);
  } else if (data.opened) {
    const { width, height, bitmap } = data.opened;
    $('compare').style.setProperty('--ratio', width / height);
    $('size').textContent = `${width} × ${height} pixels`;
    draw('before', bitmap);
  } else if (data.progress !== undefined) {
    $('progress').value = data.progress;
    $('state').textContent = `Brightening, ${10 * Math.floor(10 * data.progress)} % done`;
  } else if (data.mixed) {
    draw('after', data.mixed);
    show('result');
    mixing = false;
    mixLast();
  } else if (data.saved) {
    save(data.saved);
  }
}

function draw(id, bitmap) {
  const canvas = $(id);
  canvas.width = bitmap.width;
  canvas.height = bitmap.height;
  canvas.getContext('2d').drawImage(bitmap, 0, 0);
  bitmap.close();
}

/** Mix by the strength that was asked for last, one at a time. */
function mixLast() {
  if (mixing || wanted === null || !worker) return;
  worker.postMessage({ mix: wanted });
  mixing = true;
  wanted = null;
}

function save(blob) {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(blob);
  link.download = `${name}_enhanced.${EXTENSIONS[blob.type]}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  $('download').disabled = false;
  $('saved').textContent = `Saved as ${link.download}.`;
}

function listen() {
  $('file').addEventListener('change', (event) => {
    const [file] = event.target.files;
    // so that the same file can be chosen again
    event.target.value = '';
    if (file) open(file);
  });
  $('sample').addEventListener('click', async () => {
    const answer = await fetch('sample.jpg');
    open(new File([await answer.blob()], 'sample.jpg', { type: 'image/jpeg' }));
  });
  $('stop').addEventListener('click', () => {
    stop();
    show(null);
    $('file').focus();
  });
  $('divider').addEventListener('input', () => $('compare').style.setProperty('--at', $('divider').value));
  $('strength').addEventListener('input', () => {
    $('strength-value').textContent = Number($('strength').value).toFixed(2);
    $('saved').textContent = '';
    wanted = Number($('strength').value);
    mixLast();
  });
  $('download').addEventListener('click', () => {
    $('download').disabled = true;
    $('saved').textContent = 'Writing the file';
    worker.postMessage({ save: Number($('strength').value), type: $('format').value });
  });
  for (const type of ['dragover', 'dragleave', 'drop']) {
    document.addEventListener(type, (event) => {
      event.preventDefault();
      $('drop').classList.toggle('over', type === 'dragover');
      const [file] = (type === 'drop' && event.dataTransfer.files) || [];
      if (file) open(file);
    });
  }
  document.addEventListener('paste', (event) => {
    const [file] = event.clipboardData.files;
    if (file) open(file);
  });
}

const missing = lacks();
if (missing.length) {
  say(`This browser lacks ${missing.join(', ')}. A current Chrome, Edge, Firefox or Safari has what the page needs.`);
} else {
  $('choose').hidden = false;
  listen();
}
