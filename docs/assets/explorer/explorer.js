// The explorer of the page "Try it". It loads nothing before a visitor presses a button, and
// nothing from other sites. build.py writes the files it reads.
const GRID = 11; // the plane shows GRID x GRID images
const STRIP = 9; // an interpolation shows this many images
const COMPLETIONS = 8;

const address = (name) => new URL(name, import.meta.url).href;

async function read(name) {
  const response = await fetch(address(name));
  if (!response.ok) throw new Error(`${name} is not on this site (${response.status}).`);
  return response;
}

// element("p", { className: "x" }, "text", child)
function element(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

// Draw gray images, stored one after the other in [0, 1], as a sheet with some columns.
function draw(canvas, images, [, height, width], columns = 1) {
  const size = height * width;
  const rows = Math.ceil(images.length / size / columns);
  Object.assign(canvas, { width: columns * width, height: rows * height });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const sheet = context.createImageData(canvas.width, canvas.height);
  for (let i = 0; i < images.length; i++) {
    const [image, pixel] = [Math.floor(i / size), i % size];
    const row = Math.floor(image / columns) * height + Math.floor(pixel / width);
    const column = (image % columns) * width + (pixel % width);
    const gray = Math.round(255 * images[i]);
    sheet.data.set([gray, gray, gray, 255], 4 * (row * canvas.width + column));
  }
  context.putImageData(sheet, 0, 0);
}

let working = 0;

function count(change) {
  working += change;
  document.getElementById("latent").ariaBusy = String(working > 0);
}

// Call an async function with the newest value only: while it is busy, older values are dropped.
function newestOnly(work) {
  let busy = false;
  let waiting = null;
  return async (value) => {
    waiting = { value };
    if (busy) return;
    busy = true;
    count(1);
    try {
      while (waiting) {
        const { value: newest } = waiting;
        waiting = null;
        await work(newest);
      }
    } finally {
      busy = false;
      count(-1);
    }
  };
}

// --- vectors ---------------------------------------------------------------------------------

const dot = (a, b) => a.reduce((sum, value, i) => sum + value * b[i], 0);
const add = (a, b, factor = 1) => a.map((value, i) => value + factor * b[i]);
const scale = (a, factor) => a.map((value) => factor * value);

// The point a fraction w of the way from a to b, as genzoo.interpolate computes it.
export function between(a, b, w, spherical) {
  const [lengthA, lengthB] = [Math.sqrt(dot(a, a)), Math.sqrt(dot(b, b))];
  const cosine = dot(a, b) / (lengthA * lengthB);
  const angle = Math.acos(Math.min(1, Math.max(-1, cosine)));
  if (!spherical || !(Math.sin(angle) > 1e-3)) return add(scale(a, 1 - w), b, w);
  const length = (1 - w) * lengthA + w * lengthB;
  const [forA, forB] = [(1 - w) * angle, w * angle].map((part) => Math.sin(part) / Math.sin(angle));
  return add(scale(a, (length * forA) / lengthA), b, (length * forB) / lengthB);
}

// --- decoders --------------------------------------------------------------------------------

let runtime;
const sessions = new Map();

async function session(name) {
  runtime ??= import(address("ort.wasm.bundle.min.mjs")).then((ort) => {
    ort.env.wasm.numThreads = 1; // more need headers that a plain server does not send
    ort.env.wasm.wasmPaths = { wasm: address("ort-wasm-simd-threaded.wasm") };
    return ort;
  });
  const ort = await runtime;
  if (!sessions.has(name)) {
    sessions.set(name, ort.InferenceSession.create(address(`${name}.onnx`)));
  }
  return [ort, await sessions.get(name)];
}

// The images of latent vectors under pretrained weights, one after the other.
export async function decode(name, vectors) {
  const [ort, decoder] = await session(name);
  const z = new ort.Tensor("float32", vectors.flat(), [vectors.length, vectors[0].length]);
  const outputs = await decoder.run({ [decoder.inputNames[0]]: z });
  return outputs[decoder.outputNames[0]].data;
}

// --- the latent space ------------------------------------------------------------------------

// The point that is shown: its latent vector and its image, and how it is placed in the plane.
export const point = { name: null, z: null, image: null };

async function openLatent(root) {
  const models = await (await read("latent.json")).json();
  const title = (model) => element("option", { value: model.name, textContent: model.title });
  const choice = element("select", { id: "explorer-model" }, ...models.map(title));
  const plane = element("canvas", { className: "explorer-image" });
  plane.setAttribute("aria-hidden", "true");
  const handle = element("span", { className: "explorer-handle" });
  const pad = element("div", { className: "explorer-plane", tabIndex: 0 }, plane, handle);
  pad.setAttribute("role", "application");
  pad.setAttribute("aria-label", "Plane of the latent space: the arrow keys move the point");
  const image = element("canvas", { className: "explorer-image" });
  image.setAttribute("role", "img");
  image.setAttribute("aria-label", "The image of the point");
  const place = element("output", { className: "explorer-place" });
  const from = element("select", { id: "explorer-from" });
  const to = element("select", { id: "explorer-to" });
  const slider = element("input", { type: "range", id: "explorer-way", max: 100, value: 0 });
  const strip = element("canvas", { className: "explorer-image explorer-strip" });
  strip.setAttribute("role", "img");
  strip.setAttribute("aria-label", "Images between the two");
  const starts = element("div");
  const label = (id, text) => element("label", { htmlFor: id, textContent: text });

  let model, base, u, v;

  const showImage = newestOnly(async ({ name, shape, z }) => {
    const pixels = await decode(name, [z]);
    draw(image, pixels, shape);
    Object.assign(point, { name, z, image: [...pixels] });
  });
  const showPlane = newestOnly(async ({ name, shape, axes, base }) => {
    const ticks = Array.from({ length: GRID }, (_, i) => (2 * i + 1) / GRID - 1);
    const vectors = ticks.flatMap((down) =>
      ticks.map((right) => add(add(base, axes[0], right), axes[1], -down)));
    draw(plane, await decode(name, vectors), shape, GRID);
  });
  const showStrip = newestOnly(async ({ name, shape, ends: [a, b], spherical }) => {
    const vectors = Array.from({ length: STRIP }, (_, i) => between(a, b, i / (STRIP - 1), spherical));
    draw(strip, await decode(name, vectors), shape, STRIP);
  });

  function show(z) {
    const inside = (value) => Math.min(1, Math.max(-1, value));
    handle.style.left = `${50 + 50 * inside(u)}%`;
    handle.style.top = `${50 - 50 * inside(v)}%`;
    place.textContent = `(${u.toFixed(2)}, ${v.toFixed(2)})`;
    return showImage({ ...model, z });
  }

  function move(right, up) {
    [u, v] = [right, up].map((value) => Math.min(1, Math.max(-1, value)));
    return show(add(add(base, model.axes[0], u), model.axes[1], v));
  }

  // Go to a latent vector. The plane becomes the parallel one that passes through it.
  function jump(z) {
    const offset = add(z, model.origin, -1);
    [u, v] = model.axes.map((axis) => dot(offset, axis) / dot(axis, axis));
    base = add(add(z, model.axes[0], -u), model.axes[1], -v);
    return Promise.all([show(z), showPlane({ ...model, base })]);
  }

  const ends = () => [from, to].map((select) => model.starts[select.value].z);

  async function change(name) {
    model = models.find((candidate) => candidate.name === name);
    const { shape } = model;
    const groups = [...new Set(model.starts.map(({ group }) => group))];
    const images = await decode(name, model.starts.map(({ z }) => z));
    const size = shape[1] * shape[2];
    starts.replaceChildren(...groups.map((group) => {
      const buttons = model.starts.flatMap((start, i) => {
        if (start.group !== group) return [];
        const canvas = element("canvas", { className: "explorer-image" });
        draw(canvas, images.subarray(i * size, (i + 1) * size), shape);
        const button = element("button", { type: "button", title: start.label }, canvas);
        button.setAttribute("aria-label", `${group} ${start.label}`);
        button.addEventListener("click", () => jump(start.z));
        return [button];
      });
      const legend = element("legend", { textContent: { class: "Classes", component:
        "Components of the mixture", sample: "Samples" }[group] });
      const sheet = element("div", { className: "explorer-starts" }, ...buttons);
      return element("fieldset", {}, legend, sheet);
    }));
    for (const select of [from, to]) {
      select.replaceChildren(...model.starts.map(({ group, label: text }, i) =>
        element("option", { value: i, textContent: group === "class" ? text : `${group} ${text}` })));
    }
    [from.value, to.value, slider.value] = [0, 1, 0];
    await Promise.all([jump(model.starts[0].z), showStrip({ ...model, ends: ends() })]);
  }

  const drag = ({ clientX, clientY }) => {
    const box = pad.getBoundingClientRect();
    move((2 * (clientX - box.left)) / box.width - 1, 1 - (2 * (clientY - box.top)) / box.height);
  };
  pad.addEventListener("pointerdown", (event) => {
    pad.setPointerCapture(event.pointerId);
    drag(event);
  });
  pad.addEventListener("pointermove", (event) => {
    if (pad.hasPointerCapture(event.pointerId)) drag(event);
  });
  pad.addEventListener("keydown", (event) => {
    const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowDown: [0, -1], ArrowUp: [0, 1] };
    if (!(event.key in steps)) return;
    event.preventDefault();
    const [right, up] = scale(steps[event.key], event.shiftKey ? 0.2 : 0.05);
    move(u + right, v + up);
  });
  const changeOrTell = (name) => change(name).catch((error) => { place.textContent = error.message; });
  choice.addEventListener("change", newestOnly(() => changeOrTell(choice.value)));
  slider.addEventListener("input", () =>
    jump(between(...ends(), slider.value / 100, model.spherical)));
  for (const select of [from, to]) {
    select.addEventListener("change", () => {
      showStrip({ ...model, ends: ends() });
      jump(between(...ends(), slider.value / 100, model.spherical));
    });
  }

  await change(models[0].name);
  root.replaceChildren(
    element("p", {}, label("explorer-model", "Weights "), choice),
    element("div", { className: "explorer-pair" },
      element("figure", {}, pad, element("figcaption", {}, "Drag the point, or use the arrow keys. ", place)),
      element("figure", {}, image, element("figcaption", {}, "The image of the point"))),
    element("fieldset", { className: "explorer-way" },
      element("legend", { textContent: "Interpolate" }),
      element("p", {}, label("explorer-from", "From "), from, label("explorer-to", " to "), to),
      label("explorer-way", "Way from the first to the second"), slider, strip),
    starts,
  );
}

// --- NADE ------------------------------------------------------------------------------------

// Read single-precision tensors of a safetensors file: the length of a JSON header, the header, and data.
function tensors(buffer) {
  const length = Number(new DataView(buffer).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, length)));
  return Object.fromEntries(Object.entries(header).filter(([name]) => name !== "__metadata__").map(
    ([name, { data_offsets: [start, end] }]) =>
      [name, new Float32Array(buffer.slice(8 + length + start, 8 + length + end))]));
}

const sigmoid = (value) => 1 / (1 + Math.exp(-value));

// Complete an image in raster order: pixel d is on with the probability that NADE gives it after
// the pixels before it. `known` holds the first pixels, `uniforms` a random number for each pixel.
export function complete(weights, known, uniforms) {
  const { weight, bias, out_weight: outWeight, out_bias: outBias } = weights;
  const hidden = bias.length;
  const sum = Float32Array.from(bias);
  const probabilities = [];
  const pixels = [...outBias].map((logit, d) => {
    const row = d * hidden;
    for (let i = 0; i < hidden; i++) logit += outWeight[row + i] * sigmoid(sum[i]);
    probabilities.push(sigmoid(logit));
    const pixel = known[d] ?? Number(uniforms[d] < probabilities[d]);
    if (pixel) for (let i = 0; i < hidden; i++) sum[i] += weight[row + i];
    return pixel;
  });
  return { pixels, probabilities };
}

export async function openWeights() {
  return tensors(await (await read("nade.safetensors")).arrayBuffer());
}

async function openNade(root) {
  const { halves } = await (await read("nade.json")).json();
  const weights = await openWeights();
  const dims = weights.out_bias.length;
  const side = Math.sqrt(dims);
  const known = Array(halves[0].length).fill(0);
  let digit = 0;

  const cell = (_, d) => {
    const button = element("button", { type: "button", tabIndex: d ? -1 : 0 });
    const place = `row ${Math.floor(d / side) + 1}, column ${(d % side) + 1}`;
    button.setAttribute("aria-label", place);
    return button;
  };
  const cells = known.map(cell);
  const board = element("div", { className: "explorer-board" }, ...cells);
  board.setAttribute("role", "group");
  board.setAttribute("aria-label", "Upper half: the arrow keys move, and the space bar switches a pixel");
  board.style.gridTemplateColumns = `repeat(${side}, 1fr)`;
  const results = Array.from({ length: COMPLETIONS }, (_, i) => {
    const canvas = element("canvas", { className: "explorer-image" });
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `Completion ${i + 1}`);
    return canvas;
  });

  function show() {
    cells.forEach((button, d) => button.setAttribute("aria-pressed", String(known[d] === 1)));
    results.forEach((canvas, i) =>
      draw(canvas, complete(weights, known, uniforms[i]).pixels, [1, side, side]));
  }
  const chance = () => results.map(() => Array.from({ length: dims }, Math.random));
  let uniforms = chance();
  function again() {
    uniforms = chance();
    show();
  }
  function set(d, value) {
    known[d] = value;
    show();
  }
  function fill(values) {
    values.forEach((value, d) => { known[d] = value; });
    show();
  }

  let pen = null; // what the pointer draws, while it is down
  board.addEventListener("pointerdown", (event) => {
    const d = cells.indexOf(event.target);
    if (d < 0) return;
    event.target.releasePointerCapture(event.pointerId); // a finger holds it; the next pixels need it
    pen = 1 - known[d];
    set(d, pen);
  });
  board.addEventListener("pointermove", ({ clientX, clientY }) => {
    const d = cells.indexOf(document.elementFromPoint(clientX, clientY));
    if (pen !== null && d >= 0 && known[d] !== pen) set(d, pen);
  });
  window.addEventListener("pointerup", () => { pen = null; });
  window.addEventListener("pointercancel", () => { pen = null; });
  board.addEventListener("click", (event) => {
    const d = cells.indexOf(event.target);
    if (event.detail === 0 && d >= 0) set(d, 1 - known[d]); // from a keyboard; else see pointerdown
  });
  board.addEventListener("keydown", (event) => {
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowDown: side, ArrowUp: -side };
    const d = cells.indexOf(event.target);
    const next = cells[d + steps[event.key]];
    if (!next) return;
    event.preventDefault();
    cells[d].tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  });

  const action = (text, act) => {
    const button = element("button", { type: "button", className: "md-button", textContent: text });
    button.addEventListener("click", act);
    return button;
  };
  fill(halves[digit]);
  root.replaceChildren(
    element("div", { className: "explorer-pair explorer-halves" },
      element("figure", {}, board, element("figcaption", {}, "Draw the upper half of a digit.")),
      element("figure", {},
        element("div", { className: "explorer-results" }, ...results),
        element("figcaption", {}, `${COMPLETIONS} completions, each with its own random numbers`))),
    element("p", { className: "explorer-actions" },
      action("Next digit", () => fill(halves[++digit % halves.length])),
      action("Clear", () => fill(known.map(() => 0))),
      action("Draw again", again)),
  );
}

// --- the page --------------------------------------------------------------------------------

// Offer a part if its files are on this site: the build then wrote their size into the page.
function offer(id, open, what) {
  const root = document.getElementById(id);
  if (!root?.dataset.megabytes) return;
  const start = element("button", { type: "button", className: "md-button md-button--primary" });
  start.textContent = `${what} (loads ${root.dataset.megabytes} MB)`;
  start.addEventListener("click", async () => {
    start.disabled = true;
    start.textContent = "Loading ...";
    try {
      await open(root);
    } catch (error) {
      root.replaceChildren(element("p", { textContent: `It does not start: ${error.message}` }));
    }
  });
  root.replaceChildren(start);
}

offer("latent", openLatent, "Start");
offer("nade", openNade, "Start");
