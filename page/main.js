// The page: choosing a photograph, the divider between before and after, what is wanted of the result, download.

const $ = (id) => document.getElementById(id);
const EXTENSIONS = { 'image/png': 'png', 'image/jpeg': 'jpg' };

let worker = null;
let name = 'photograph';
let mixing = false;
let changed = false;
// the brightness that is seen, null for the automatic one, and the number that it is
let seen = { brightness: null, used: 0.45 };

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

function show(...sections) {
  for (const each of ['work', 'result']) $(each).hidden = !sections.includes(each);
  $('download').disabled = sections.includes('work');
}

function say(text) {
  $('message').textContent = text;
  $('message').hidden = !text;
}

function stop() {
  worker?.terminate();
  worker = null;
  mixing = false;
  changed = false;
}

/** What the controls say. */
function wanted() {
  const [strength, brightness, denoise] = ['strength', 'brightness', 'denoise'].map((id) => Number($(id).value));
  return { strength, brightness: $('auto').checked ? null : brightness, denoise };
}

/** Show what the controls say, and have it done. */
function change(done = true) {
  for (const id of ['strength', 'brightness', 'denoise']) $(`${id}-value`).textContent = Number($(id).value).toFixed(2);
  $('saved').textContent = '';
  say('');
  if (!done || !worker || $('result').hidden) return;
  if (wanted().brightness !== seen.brightness) {
    askAgain();
  } else {
    // a run for another brightness is not waited for
    if (!$('work').hidden) mixing = false;
    mixLast();
  }
}

/** Have the model answer for another brightness. What is seen stays until it has. */
function askAgain() {
  begin('Brightening');
  show('work', 'result');
  mixing = true;
  worker.postMessage({ mix: wanted() });
}

function begin(text) {
  $('progress').removeAttribute('value');
  $('state').textContent = text;
}

/** Set the controls of brightness to what is seen. */
function restore() {
  $('auto').checked = seen.brightness === null;
  $('brightness').value = seen.used;
  change(false);
}

function open(file) {
  stop();
  say('');
  name = (file.name || 'photograph').replace(/\.[^.]*$/, '');
  $('format').value = file.type === 'image/jpeg' ? 'image/jpeg' : 'image/png';
  begin('Loading the model');
  show('work');
  worker = new Worker('worker.js', { type: 'module' });
  worker.onmessage = receive;
  worker.onerror = () => fail('The program of this page cannot be loaded. Reload the page.');
  worker.postMessage({ open: file, wanted: wanted() });
}

function fail(text) {
  stop();
  show();
  say(text);
}

/** Stop a run: what was seen before is seen again, if there was something. */
function cancel() {
  if ($('result').hidden) {
    stop();
    show();
    $('file').focus();
    return;
  }
  worker.postMessage({ stop: true });
  mixing = false;
  show('result');
  restore();
  $('brightness').focus();
}

function receive({ data }) {
  if (data.failed) {
    fail(data.failed);
  } else if (data.refused) {
    mixing = false;
    if ($('result').hidden) {
      $('auto').checked = true;
      worker.postMessage({ mix: wanted() });
    } else {
      show('result');
      restore();
    }
    say(data.refused);
  } else if (data.opened) {
    const { width, height, bitmap } = data.opened;
    $('compare').style.setProperty('--ratio', width / height);
    $('size').textContent = `${width} × ${height} pixels`;
    draw('before', bitmap);
  } else if (data.progress !== undefined) {
    $('progress').value = data.progress;
    $('state').textContent = `Brightening, ${10 * Math.floor(10 * data.progress)} % done`;
  } else if (data.mixed) {
    seen = { brightness: data.brightness, used: data.used ?? seen.used };
    draw('after', data.mixed);
    mixing = false;
    if (wanted().brightness !== seen.brightness) return;
    show('result');
    if (seen.brightness === null) $('brightness').value = seen.used;
    $('brightness-value').textContent = Number($('brightness').value).toFixed(2);
    if (changed) mixLast();
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

/** Mix by what was asked for last, one at a time. */
function mixLast() {
  changed = mixing;
  if (mixing) return;
  worker.postMessage({ mix: wanted() });
  mixing = true;
}

function save(blob) {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(blob);
  link.download = `${name}_enhanced.${EXTENSIONS[blob.type]}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  $('download').disabled = !$('work').hidden;
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
  $('stop').addEventListener('click', cancel);
  $('divider').addEventListener('input', () => $('compare').style.setProperty('--at', $('divider').value));
  for (const id of ['strength', 'denoise']) $(id).addEventListener('input', () => change());
  // another brightness is another run of the model, which waits until the control is let go
  $('brightness').addEventListener('input', () => {
    $('auto').checked = false;
    change(false);
  });
  for (const id of ['brightness', 'auto']) $(id).addEventListener('change', () => change());
  $('download').addEventListener('click', () => {
    $('download').disabled = true;
    $('saved').textContent = 'Writing the file';
    worker.postMessage({ save: wanted(), type: $('format').value });
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
