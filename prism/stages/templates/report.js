'use strict';
const byId = name => document.getElementById(name);
const json = name => JSON.parse(byId(name).textContent);
const bytes = text => {
  const raw = atob(text), found = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) found[i] = raw.charCodeAt(i);
  return found;
};
const make = (tag, text = '', name = '') => {
  const made = document.createElement(tag);
  made.textContent = text;
  if (name) made.className = name;
  return made;
};
const SIDES = ['SFT', 'RL'], COLOURS = ['#0072b2', '#d55e00'];

// the numbers: a typed array a column
const numbers = json('numbers'), NAMES = json('names'), count = numbers.ids.length;
const all = new Float64Array(bytes(numbers.values).buffer), sides = bytes(numbers.sides), column = {};
numbers.columns.forEach((name, place) => { column[name] = all.subarray(place * count, (place + 1) * count); });
const digits = (value, name) => name === 'length' || name === 'rows' || name === 'truncated'
  ? String(value) : Number(value).toPrecision(4);

// the table: the rows in sight alone are in the document
const ROW = 28, BEYOND = 10;
const list = document.querySelector('.list'), rows = byId('rows');
const order = Uint32Array.from({length: count}, (_, i) => i);
let shown = order, sorted = {name: numbers.by, down: true}, chosen = -1, texts = null, lower = null;

function compare(name) {
  if (name === 'id') return (a, b) => (numbers.ids[a] < numbers.ids[b] ? -1 : 1);
  const values = name === 'side' ? sides : column[name];
  return (a, b) => values[a] - values[b] || a - b;
}

function select() {
  const words = byId('search').value.toLowerCase(), side = byId('side').value;
  const ascending = compare(sorted.name);
  order.sort(sorted.down ? (a, b) => ascending(b, a) : ascending);
  shown = order.filter(i => (side === '' || sides[i] === +side)
    && (!words || numbers.ids[i].toLowerCase().includes(words) || (lower !== null && lower[i].includes(words))));
  byId('matches').textContent = shown.length + ' of ' + count + (words && byId('texts').textContent && lower === null
    ? ', texts are still being read' : '');
  list.scrollTop = 0;
  draw();
}

function gap(pixels) {
  const row = make('tr', '', 'gap'), cell = make('td');
  cell.colSpan = numbers.columns.length + 2;
  cell.style.height = pixels + 'px';
  row.append(cell);
  return row;
}

function draw() {
  const first = Math.max(0, Math.floor(list.scrollTop / ROW) - BEYOND);
  const last = Math.min(shown.length, Math.ceil((list.scrollTop + list.clientHeight) / ROW) + BEYOND);
  const made = [gap(first * ROW)];
  for (let place = first; place < last; place++) {
    const i = shown[place], row = make('tr'), id = make('td', numbers.ids[i]);
    id.title = numbers.ids[i];
    row.append(id, make('td', SIDES[sides[i]], SIDES[sides[i]].toLowerCase()));
    for (const name of numbers.columns) row.append(make('td', digits(column[name][i], name)));
    row.dataset.place = place;
    row.ariaSelected = String(i === chosen);
    made.push(row);
  }
  made.push(gap((shown.length - last) * ROW));
  rows.replaceChildren(...made);
}

function heads() {
  byId('heads').replaceChildren(...['id', 'side', ...numbers.columns].map(name => {
    const head = make('th'), button = make('button', NAMES[name] || (name === 'id' ? 'trajectory' : name));
    head.scope = 'col';
    if (sorted.name === name) {
      head.ariaSort = sorted.down ? 'descending' : 'ascending';
      button.textContent += sorted.down ? ' \u2193' : ' \u2191';
    }
    button.onclick = () => {
      sorted = {name, down: sorted.name === name ? !sorted.down : name !== 'id'};
      heads();
      select();
    };
    head.append(button);
    return head;
  }));
}

// one trajectory: scores, profile, text
let profiles = null;
function profile(i) {
  if (profiles === null) {
    profiles = json('profiles');
    profiles.steps = new Uint16Array(bytes(profiles.steps).buffer);
    profiles.largest = new Float64Array(bytes(profiles.largest).buffer);
  }
  const size = profiles.names.length, steps = profiles.steps.subarray(i * size, (i + 1) * size);
  return Float64Array.from(steps, step => step / 65535 * profiles.largest[i]);
}

// viridis, as matplotlib draws it, between five of its colours
const VIRIDIS = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]];
function colour(share) {
  const at = Math.min(share * 4, 3.999), low = VIRIDIS[Math.floor(at)], high = VIRIDIS[Math.floor(at) + 1];
  return 'rgb(' + low.map((part, k) => Math.round(part + (high[k] - part) * (at % 1))).join(' ') + ')';
}

function heatmap(norms) {
  const table = make('table', '', 'heat'), largest = Math.max(...norms) || 1;
  const cells = profiles.matrices.map(name => {
    const row = table.insertRow(), head = make('th', name);
    head.scope = 'row';
    row.append(head);
    return profiles.layers.map(() => row.insertCell());
  });
  profiles.places.forEach(([matrix, layer], k) => {
    const cell = cells[matrix][layer];
    cell.title = profiles.names[k] + ': ' + norms[k].toPrecision(4);
    cell.style.background = colour(norms[k] / largest);
  });
  const foot = table.insertRow(), every = Math.ceil(profiles.layers.length / 12);
  foot.append(make('th', 'layer'), ...profiles.layers.map((name, k) => make('th', k % every ? '' : name)));
  const box = make('div', '', 'wide');
  box.tabIndex = 0;
  box.append(table);
  return box;
}

function dominant(norms) {
  const total = norms.reduce((sum, norm) => sum + norm * norm, 0) || 1;
  const largest = [...norms.keys()].sort((a, b) => norms[b] - norms[a]).slice(0, 5);
  return 'Brightest: the largest norm, ' + Math.max(...norms).toPrecision(4) + '; darkest: 0. Largest by share of the squared norm: '
    + largest.map(k => profiles.names[k] + ' ' + (100 * norms[k] ** 2 / total).toFixed(1) + '%').join(', ') + '.';
}

// a text with what was searched for marked
function marked(text, words) {
  const made = make('pre'), low = text.toLowerCase();
  let from = 0;
  for (let at; words && low.length === text.length && (at = low.indexOf(words, from)) >= 0; from = at + words.length) {
    made.append(text.slice(from, at), make('mark', text.slice(at, at + words.length)));
  }
  made.append(text.slice(from));
  return made;
}

function messages(i) {
  const box = make('div', '', 'texts'), words = byId('search').value.toLowerCase();
  if (!byId('texts').textContent) box.append(make('p', 'The texts are not in this page.', 'soft'));
  else if (texts === null) box.append(make('p', 'The texts are still being read.', 'soft'));
  else if (!texts[i].length) box.append(make('p', 'The data holds token ids, not texts.', 'soft'));
  else {
    for (const [role, text] of texts[i]) {
      const part = make('div', '', 'message ' + role);
      part.append(make('h4', role), marked(text, words));
      box.append(part);
    }
  }
  return box;
}

function choose(i) {
  chosen = i;
  const norms = profile(i), scores = numbers.columns.map(name => NAMES[name] + ' ' + digits(column[name][i], name));
  const side = make('p', 'to ' + SIDES[sides[i]], SIDES[sides[i]].toLowerCase());
  byId('chosen').replaceChildren(make('h3', numbers.ids[i]), side, make('p', scores.join(', ') + '.', 'soft'),
    heatmap(norms), make('p', dominant(norms), 'soft'), messages(i));
  draw();
}

function move(step) {
  const place = shown.indexOf(chosen) + step;
  if (place < 0 || place >= shown.length) return;
  const top = place * ROW;
  if (top < list.scrollTop) list.scrollTop = top;
  if (top + 3 * ROW > list.scrollTop + list.clientHeight) list.scrollTop = top + 3 * ROW - list.clientHeight;
  choose(shown[place]);
}

// pictures
function canvas(element) {
  const box = element.getBoundingClientRect(), scale = window.devicePixelRatio || 1, pen = element.getContext('2d');
  element.width = box.width * scale;
  element.height = box.height * scale;
  pen.scale(scale, scale);
  pen.font = '11px system-ui, sans-serif';
  return [pen, box.width, box.height];
}

function histogram(element) {
  const [pen, width, height] = canvas(element), name = element.dataset.histogram, values = column[name];
  let low = Infinity, high = -Infinity;
  for (const value of values) { low = Math.min(low, value); high = Math.max(high, value); }
  const bins = 40, span = high - low || 1, filled = [new Uint32Array(bins), new Uint32Array(bins)];
  values.forEach((value, i) => { filled[sides[i]][Math.min(bins - 1, Math.floor((value - low) / span * bins))]++; });
  const most = Math.max(...filled[0].map((number, k) => number + filled[1][k])), base = height - 16;
  for (let k = 0; k < bins; k++) {
    let bottom = base;
    for (const side of [0, 1]) {
      const tall = filled[side][k] / most * (base - 12);
      pen.fillStyle = COLOURS[side];
      pen.fillRect(k * width / bins, bottom - tall, width / bins - 1, tall);
      bottom -= tall;
    }
  }
  pen.fillStyle = '#5b6570';
  pen.fillText(low.toPrecision(3), 0, height - 3);
  pen.textAlign = 'right';
  pen.fillText(high.toPrecision(3), width, height - 3);
  if (name === numbers.by) {
    const at = (numbers.threshold - low) / span * width;
    pen.strokeStyle = pen.fillStyle = '#1d2329';
    pen.beginPath();
    pen.moveTo(at, 8);
    pen.lineTo(at, base);
    pen.stroke();
    pen.textAlign = at > width / 2 ? 'right' : 'left';
    pen.fillText(' threshold ', at, 9);
  }
}

const ranked = {};
function ranks(name) {
  if (!(name in ranked)) {
    const places = Uint32Array.from({length: count}, (_, i) => i).sort(compare(name)), found = new Float64Array(count);
    // equal values share the middle of their places
    for (let from = 0, to; from < count; from = to) {
      for (to = from; to < count && column[name][places[to]] === column[name][places[from]];) to++;
      for (let k = from; k < to; k++) found[places[k]] = (from + to - 1) / 2;
    }
    ranked[name] = found;
  }
  return ranked[name];
}

function scatter(element) {
  const [pen, width, height] = canvas(element), x = ranks(element.dataset.x), y = ranks(element.dataset.y);
  const size = count > 1000 ? 1.5 : 2.5;
  pen.strokeStyle = '#dfe3e7';
  pen.strokeRect(0.5, 0.5, width - 1, height - 1);
  for (const side of [0, 1]) {
    pen.fillStyle = COLOURS[side] + '90';
    for (let i = 0; i < count; i++) {
      if (sides[i] !== side) continue;
      pen.fillRect(4 + x[i] / count * (width - 8), height - 4 - y[i] / count * (height - 8), size, size);
    }
  }
}

function pictures() {
  document.querySelectorAll('[data-histogram]').forEach(histogram);
  document.querySelectorAll('[data-x]').forEach(scatter);
}

async function read() {
  if (!byId('texts').textContent) return;
  const stream = new Blob([bytes(byId('texts').textContent)]).stream().pipeThrough(new DecompressionStream('gzip'));
  texts = await new Response(stream).json();
  lower = texts.map(chat => chat.map(([, text]) => text).join('\n').toLowerCase());
  document.documentElement.dataset.texts = Math.round(performance.now());
  if (byId('search').value) select();
  if (chosen >= 0) choose(chosen);
}

let waiting = 0;
const soon = action => () => { clearTimeout(waiting); waiting = setTimeout(action, 150); };
list.onscroll = draw;
list.onkeydown = event => {
  const step = {ArrowDown: 1, ArrowUp: -1}[event.key];
  if (step) { event.preventDefault(); move(step); }
};
rows.onclick = event => {
  const row = event.target.closest('tr[data-place]');
  if (row) choose(shown[+row.dataset.place]);
};
byId('search').oninput = soon(select);
byId('side').onchange = select;
window.onresize = soon(() => { pictures(); draw(); });
heads();
select();
if (count) choose(shown[0]);
document.documentElement.dataset.ready = Math.round(performance.now());
requestAnimationFrame(pictures);
setTimeout(read, 0);
