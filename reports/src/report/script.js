// What the page does: filters, a page for each race, and the stepper. It reads the island, makes
// elements and text nodes, and asks for nothing.
'use strict';
(() => {
  const data = JSON.parse(document.getElementById('data').textContent);
  const byId = (id) => document.getElementById(id);

  // An element with attributes and children; a child that is no element becomes a text.
  function make(tag, attributes, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) {
      if (value === true) element.setAttribute(name, '');
      else if (value !== undefined && value !== null && value !== false) element.setAttribute(name, value);
    }
    element.append(...children.flat().filter((c) => c !== undefined && c !== null));
    return element;
  }

  // ---- the table of verdicts ----

  const odd = (answer) => answer.judgement !== 'as_recorded' && answer.judgement !== 'evidence';
  const lines = Array.from(document.querySelectorAll('#matrix tbody tr'));
  const heads = Array.from(document.querySelectorAll('#matrix thead th'), (th) => th.textContent);
  const columnStyle = document.head.appendChild(make('style'));

  function passes(scenario, filter) {
    if (filter.kind && scenario.kind !== filter.kind) return false;
    if (!filter.search.every((word) => scenario.words.includes(word))) return false;
    return scenario.answers.some((a) => (!filter.row || a.revision === filter.row) &&
      (!filter.verdict || (filter.verdict === 'differs' ? odd(a) : a.verdict === filter.verdict)));
  }

  // Of one row, its column is enough; a twin has none of its own.
  function showColumns(row) {
    const at = heads.indexOf(row) < 0 ? heads.length - 1 : heads.indexOf(row);
    columnStyle.textContent = row
      ? `#matrix tr > :not(:first-child):not(:nth-child(${at + 1})) { display: none; }` : '';
  }

  // Of the lines that pass, so many are laid out; a button, and scrolling to it, shows more.
  let limit = data.lines_shown;
  const more = byId('more');

  function filter() {
    const wanted = {
      search: byId('search').value.toLowerCase().split(/\s+/).filter(Boolean),
      kind: byId('kind').value, verdict: byId('verdict').value, row: byId('row').value,
    };
    let shown = 0;
    data.scenarios.forEach((scenario, i) => {
      const pass = passes(scenario, wanted);
      shown += pass ? 1 : 0;
      const visible = pass && shown <= limit;
      if (lines[i].hidden === visible) lines[i].hidden = !visible;
    });
    more.hidden = shown <= limit;
    more.textContent = `Show ${Math.min(data.lines_shown, shown - limit)} more of ${shown - limit}`;
    showColumns(wanted.row);
    byId('shown').textContent = `${shown} of ${lines.length} scenarios`;
  }

  function showLines(most) {
    limit = most;
    filter();
  }

  more.addEventListener('click', () => showLines(limit + data.lines_shown));
  new IntersectionObserver((seen) => {
    if (seen.some((s) => s.isIntersecting)) showLines(limit + data.lines_shown);
  }).observe(more);
  window.addEventListener('beforeprint', () => showLines(Infinity));
  window.addEventListener('afterprint', () => showLines(data.lines_shown));

  // ---- a race ----

  // All that is said about a scenario.
  const read = (name) => {
    const at = data.scenarios.findIndex((s) => s.name === name);
    return at < 0 ? null : JSON.parse(byId(`scenario-${at}`).textContent);
  };

  const item = (name, ...what) => what.length ? [make('dt', {}, name), make('dd', {}, ...what)] : [];

  function code(texts) {
    return make('pre', {}, texts.join('\n'));
  }

  function told(o, timed) {
    const time = o.milliseconds === undefined ? '' : `${o.milliseconds} ms`;
    const splats = Object.entries(o.splats).map(([splat, n]) => make('div', { class: 'code' }, `${n} x ${splat}`));
    return make('tr', {},
      make('td', {}, o.explorer),
      make('td', {}, make('span', { class: 'v', 'data-v': o.verdict }, o.verdict)),
      make('td', {}, `${o.failed} / ${o.executions}`),
      make('td', {}, o.note, splats),
      timed ? make('td', {}, time) : null);
  }

  function answerPart(answer, base) {
    const row = data.rows.find((r) => r.name === answer.revision);
    const href = `${base}/${encodeURIComponent(answer.revision)}`;
    const shows = base && answer.interleaving
      ? make('a', { href, class: 'open' }, `step through the interleaving: ${answer.interleaving.splat}`) : null;
    const timed = answer.observations.some((o) => o.milliseconds !== undefined);
    const body = make('tbody', {}, answer.observations.map((o) => told(o, timed)));
    const head = make('thead', {}, make('tr', {}, ['explorer', 'verdict', 'failing / executions',
      'bound and splats', ...(timed ? ['time'] : [])].map((t) => make('th', { scope: 'col' }, t))));
    return make('section', { id: `on-${answer.revision}` },
      make('h3', {}, answer.revision, ' ', make('small', {}, row ? row.doc : '')),
      make('p', {}, `recorded: ${answer.recorded}; ${answer.judgement.replace('_', ' ')}`,
        answer.reason ? `: ${answer.reason}` : ''),
      make('div', { class: 'wide' }, make('table', {}, head, body)),
      shows ? make('p', {}, shows) : null);
  }

  function racePage(scenario, revision) {
    const base = `#race/${encodeURIComponent(scenario.name)}`;
    const answer = scenario.answers.find((a) => a.revision === revision);
    const open = answer && answer.interleaving ? stepper(answer) : null;
    return [
      make('h2', { tabindex: '-1' }, scenario.name, ' ', make('small', {}, scenario.kind)),
      make('p', {}, make('strong', {}, scenario.question)),
      answer ? make('p', {}, make('a', { href: base }, 'all rows of this scenario')) : null,
      answer ? answerPart(answer, null) : null,
      open,
      make('dl', {},
        item('source', scenario.source),
        scenario.notes ? item('notes', scenario.notes) : [],
        item('bounds', scenario.bounds),
        scenario.setup.length ? item('setup', code(scenario.setup)) : [],
        scenario.cpus.flatMap((steps, i) => item(`CPU ${i}`, code(steps))),
        scenario.finally.length ? item('finally', code(scenario.finally)) : []),
      ...(answer ? [] : scenario.answers.map((a) => answerPart(a, base))),
    ];
  }

  // ---- the stepper ----

  let keys = null; // What the arrow keys do while a stepper is open.

  // The objects and the locks after each of the first `count` steps.
  function stateAfter(run, count) {
    const objects = new Map();
    let locks = [];
    for (const change of run.changes) {
      if (change.step >= count) break;
      for (const o of change.set || []) objects.set(o.alloc, o);
      for (const alloc of change.freed || []) objects.delete(alloc);
      if (change.locks) locks = change.locks;
    }
    // Who hangs in the end does so only there.
    const hung = count === run.steps ? run.hung || [] : [];
    return { objects, locks, hung };
  }

  function location(code) {
    const text = `${code.file}:${code.line}`;
    return data.sources
      ? make('a', { href: `${data.sources}${code.file}#L${code.line}`, rel: 'noreferrer' }, text)
      : make('span', { class: 'code' }, text);
  }

  function objectTable(now, before) {
    const rows = Array.from(now.objects.values()).sort((a, b) => a.alloc - b.alloc).map((o) => {
      const old = before.objects.get(o.alloc);
      const was = new Map(old ? old.fields : []);
      const fields = o.fields.flatMap(([field, value], i) => {
        const parts = [i ? ', ' : '', `${field} = `];
        const changed = !old || was.get(field) !== value;
        if (changed && old && was.has(field)) parts.push(make('del', {}, was.get(field)), ' ');
        parts.push(changed ? make('mark', {}, value) : value);
        return parts;
      });
      return make('tr', {}, make('th', { scope: 'row' }, o.name),
        make('td', {}, o.ty), make('td', {}, o.id === undefined ? '' : String(o.id)),
        make('td', {}, fields));
    });
    for (const [alloc, o] of before.objects) {
      if (!now.objects.has(alloc)) {
        rows.push(make('tr', {}, make('th', { scope: 'row' }, make('del', {}, o.name)),
          make('td', {}, o.ty), make('td', {}, ''), make('td', {}, make('mark', {}, 'freed'))));
      }
    }
    return make('table', {}, make('caption', {}, 'Objects'),
      make('thead', {}, make('tr', {}, ['object', 'type', 'id', 'counters and pointers']
        .map((t) => make('th', { scope: 'col' }, t)))),
      make('tbody', {}, rows));
  }

  const nameOf = (run, cpu) => run.names?.[cpu] ?? `CPU ${cpu}`;
  const cpus = (list) => list.map((c) => `CPU ${c}`).join(', ');

  function lockList(locks, hung) {
    if (!locks.length && !hung.length) return make('p', { class: 'dim' }, 'no lock is held');
    const stuck = hung.map((h) => make('li', {}, make('mark', {}, `CPU ${h.cpu} waits in ${h.op} for ever`)));
    return make('ul', {}, stuck, locks.map((l) => make('li', {}, make('span', { class: 'code' }, l.name),
      ` held by ${cpus(l.holders)}`, l.waiters.length ? make('mark', {}, `; ${cpus(l.waiters)} waits`) : null)));
  }

  // ---- the graph of a stepper, drawn ----

  const BOX = { width: 190, line: 15, gap: 26 };

  function svg(tag, attributes, ...children) {
    const element = document.createElementNS('http://www.w3.org/2000/svg', tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  }

  // Where each object stands, the same at every step: a line per C type, in the order in which the
  // first of each was allocated. CPUs stand on the left.
  function layoutOf(run) {
    const all = new Map();
    for (const change of run.changes) for (const o of change.set || []) {
      const most = all.get(o.alloc);
      if (!most || most.fields.length < o.fields.length) all.set(o.alloc, o);
    }
    const types = new Map();
    for (const o of [...all.values()].sort((a, b) => a.alloc - b.alloc)) {
      types.set(o.ty, [...(types.get(o.ty) || []), o]);
    }
    const places = new Map();
    let y = 8;
    let width = 0;
    for (const objects of types.values()) {
      let tallest = 0;
      objects.forEach((o, i) => {
        const height = (o.fields.length + 1) * BOX.line + 10;
        places.set(o.alloc, { x: 90 + i * (BOX.width + BOX.gap), y, height });
        tallest = Math.max(tallest, height);
        width = Math.max(width, 90 + (i + 1) * (BOX.width + BOX.gap));
      });
      y += tallest + BOX.gap;
    }
    for (let cpu = 0; cpu < run.cpus; cpu += 1) {
      places.set(`cpu${cpu}`, { x: 4, y: 8 + cpu * 60, height: 30 });
    }
    return { places, width, height: Math.max(y, 8 + run.cpus * 60) };
  }

  // From the side of one box to the side of another one.
  function arrow(from, fromWidth, to, toWidth, style) {
    const left = from.x + fromWidth / 2 <= to.x + toWidth / 2;
    const x1 = left ? from.x + fromWidth : from.x;
    const x2 = left ? to.x : to.x + toWidth;
    const bend = left ? 18 : -18;
    const [y1, y2] = [from.y + 12, to.y + 12];
    return svg('path', { class: style, 'marker-end': 'url(#head)',
      d: `M${x1} ${y1} C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}` });
  }

  function objectBox(o, old, place) {
    const was = new Map(old ? old.fields : []);
    const changed = (field, value) => !old || was.get(field) !== value;
    const title = `${o.name}${o.id === undefined ? '' : `, id ${o.id}`}`;
    const texts = [[title, false], ...o.fields.map(([f, v]) => [`${f} = ${v}`, changed(f, v)])];
    const lines = texts.map(([text, isNew], i) => svg('text', {
      x: place.x + 6, y: place.y + 15 + i * BOX.line,
      class: `${i ? '' : 'title'} ${isNew ? 'new' : ''}`,
    }, text.length > 30 ? `${text.slice(0, 29)}…` : text, svg('title', {}, text)));
    const box = svg('rect', { x: place.x, y: place.y, width: BOX.width, height: place.height, rx: 4,
      class: old ? 'box' : 'box new' });
    return svg('g', { class: 'object' }, box, ...lines);
  }

  // Objects with their pointers, and the CPUs with the locks that they hold or wait for.
  function objectGraph(run, layout, now, before) {
    const { places } = layout;
    const byName = new Map([...now.objects.values()].map((o) => [o.name, o]));
    const parts = [svg('defs', {}, svg('marker', { id: 'head', viewBox: '0 0 8 8', refX: 7, refY: 4,
      markerWidth: 7, markerHeight: 7, orient: 'auto' }, svg('path', { d: 'M0 0 L8 4 L0 8 z' })))];
    for (const o of now.objects.values()) {
      for (const [, value] of o.fields) {
        const to = byName.get(value);
        if (to && to !== o) parts.push(arrow(places.get(o.alloc), BOX.width, places.get(to.alloc), BOX.width, 'pointer'));
      }
    }
    for (const lock of now.locks) {
      const owner = byName.get(lock.name.split('->')[0].split('.')[0]);
      const say = (cpu, style) => {
        const from = places.get(`cpu${cpu}`);
        if (owner && from) {
          parts.push(svg('g', { class: style }, arrow(from, 60, places.get(owner.alloc), BOX.width, style),
            svg('title', {}, `CPU ${cpu} ${style} ${lock.name}`)));
        }
      };
      lock.holders.forEach((cpu) => say(cpu, 'holds'));
      lock.waiters.forEach((cpu) => say(cpu, 'waits'));
    }
    for (let cpu = 0; cpu < run.cpus; cpu += 1) {
      const { x, y } = places.get(`cpu${cpu}`);
      const waits = now.locks.some((l) => l.waiters.includes(cpu)) || now.hung.some((h) => h.cpu === cpu);
      const holds = now.locks.some((l) => l.holders.includes(cpu));
      const state = waits ? 'waits' : holds ? 'holds' : '';
      parts.push(svg('g', { class: 'cpu' }, svg('rect', { x, y, width: 60, height: 30, rx: 15 }),
        svg('text', { x: x + 30, y: y + 14, 'text-anchor': 'middle' }, `CPU ${cpu}`),
        svg('text', { x: x + 30, y: y + 25, 'text-anchor': 'middle', class: 'state' }, state)));
    }
    for (const o of now.objects.values()) {
      parts.push(objectBox(o, before.objects.get(o.alloc), places.get(o.alloc)));
    }
    return svg('svg', { viewBox: `0 0 ${layout.width} ${layout.height}`, width: layout.width, role: 'img',
      'aria-label': 'Objects with their pointers, CPUs with the locks that they hold or wait for; the '
        + 'lists below say the same' }, ...parts);
  }

  // The lines that are drawn, with the names of the functions between them.
  function drawn(run, all) {
    const functions = new Array(run.cpus).fill(null);
    const out = [];
    for (const line of run.lines) {
      if (line.kind === 'step' && !all && !line.code.meets) continue;
      if (line.kind === 'call') functions[line.cpu] = null;
      if (line.kind === 'step' && functions[line.cpu] !== line.code.function) {
        functions[line.cpu] = line.code.function;
        if (line.code.function) out.push({ kind: 'function', cpu: line.cpu, step: line.step, text: `${line.code.function}:` });
      }
      out.push(line);
    }
    return out;
  }

  function columnRow(run, line) {
    if (line.cpu === undefined) {
      const final = line.kind === 'ruler' && line.step !== undefined && line.step === run.point_of_no_return;
      const text = line.kind === 'splat' ? `*** ${line.text}` : line.text;
      return make('tr', {}, make('td', { colspan: run.cpus, class: final ? 'return' : line.kind }, text));
    }
    const cells = [];
    for (let cpu = 0; cpu < run.cpus; cpu += 1) {
      cells.push(make('td', cpu === line.cpu ? { class: line.kind } : {}, cpu === line.cpu ? line.text : ''));
    }
    return make('tr', {}, cells);
  }

  function stepper(answer) {
    const run = answer.interleaving;
    const numbers = new Map(run.lines.filter((l) => l.kind === 'step').map((l) => [l.step, l]));
    const body = make('tbody', {});
    const now = make('div', { class: 'now', role: 'status', 'aria-live': 'polite' });
    const graph = make('div', { class: 'graph' });
    const picture = make('div', { class: 'picture wide' });
    const layout = layoutOf(run);
    const all = make('input', { type: 'checkbox', class: 'all' });
    const slider = make('input', { type: 'range', min: 0, max: run.steps, value: 0, 'aria-label': 'step' });
    const button = (text, label, act) => {
      const b = make('button', { type: 'button', 'aria-label': label, title: label }, text);
      b.addEventListener('click', act);
      return b;
    };
    let rows = [];
    let stops = [];
    let count = 0; // Steps that are made.

    function draw() {
      rows = drawn(run, all.checked).map((line) => ({ line, tr: columnRow(run, line) }));
      stops = [0, ...rows.filter((r) => r.line.kind === 'step').map((r) => r.line.step + 1)];
      body.replaceChildren(...rows.map((r) => r.tr));
      go(count);
    }

    function go(to) {
      count = Math.max(0, Math.min(run.steps, to));
      slider.value = String(count);
      let current = null;
      for (const { line, tr } of rows) {
        tr.classList.toggle('later', line.step === undefined ? count < run.steps : line.step >= count);
        tr.removeAttribute('aria-current');
        if (line.kind === 'step' && line.step === count - 1) current = tr;
      }
      if (current) {
        current.setAttribute('aria-current', 'step');
        current.scrollIntoView({ block: 'nearest' });
      }
      tell();
      first.disabled = back.disabled = count === 0;
      last.disabled = forward.disabled = count === run.steps;
    }

    function tell() {
      const step = numbers.get(count - 1);
      const after = run.point_of_no_return !== null && count > run.point_of_no_return
        ? make('strong', {}, ' Behind the point of no return.') : null;
      now.replaceChildren(make('p', {}, `Step ${count} of ${run.steps}`,
        step ? `: ${nameOf(run, step.cpu)}, ${step.text} in ${step.code.function}, ` : ', before the first step.',
        step ? location(step.code) : null, after));
      const before = stateAfter(run, count - 1);
      const here = stateAfter(run, count);
      picture.replaceChildren(...(count ? [objectGraph(run, layout, here, count === 1 ? here : before)] : []));
      graph.replaceChildren(make('h4', {}, 'Locks'), lockList(here.locks, here.hung),
        count ? objectTable(here, count === 1 ? here : before) : make('p', { class: 'dim' }, 'The objects are shown from the first step on.'));
    }

    const next = () => go(stops.find((s) => s > count) ?? run.steps);
    const previous = () => go(stops.filter((s) => s < count).pop() ?? 0);
    const first = button('|<', 'to the beginning', () => go(0));
    const back = button('<', 'step back', previous);
    const forward = button('>', 'step forward', next);
    const last = button('>|', 'to the end', () => go(run.steps));
    const point = run.point_of_no_return === null ? null
      : button('point of no return', `to the point of no return, step ${run.point_of_no_return + 1}`,
        () => go(run.point_of_no_return + 1));
    slider.addEventListener('input', () => go(Number(slider.value)));
    all.addEventListener('change', draw);
    keys = { ArrowRight: next, ArrowLeft: previous, Home: () => go(0), End: () => go(run.steps) };
    const heads = [];
    for (let cpu = 0; cpu < run.cpus; cpu += 1) heads.push(make('th', { scope: 'col' }, nameOf(run, cpu)));
    draw();
    return make('section', { class: 'interleaving', 'aria-label': 'Interleaving' },
      make('p', {}, 'Replay: ', make('code', {}, run.replay)),
      make('div', { class: 'controls' }, first, back, forward, last, point, slider,
        make('label', {}, all, ' every step'),
        make('span', { class: 'dim' }, 'arrow keys, Home, End')),
      now,
      make('div', { class: 'stepper' },
        make('table', { class: 'columns code' }, make('thead', {}, make('tr', {}, heads)), body), graph),
      picture,
      make('details', {}, make('summary', {}, 'As text for a mail'), make('pre', {}, run.text)));
  }

  document.addEventListener('keydown', (event) => {
    const act = keys && keys[event.key];
    const into = event.target;
    const writes = into instanceof HTMLElement && into.matches('input:not([type=checkbox]), select, textarea');
    if (!act || (writes && into.type !== 'range') || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    act();
  });

  // ---- which part is shown ----

  const views = Array.from(document.querySelectorAll('.view'));

  function show() {
    const [part, name, revision] = decodeParts(window.location.hash.slice(1));
    const scenario = part === 'race' && read(name);
    const id = scenario ? 'race' : views.some((v) => v.id === part && part !== 'race') ? part : 'verdicts';
    keys = null;
    byId('race').replaceChildren(...(scenario ? racePage(scenario, revision).filter(Boolean) : []));
    for (const view of views) view.hidden = view.id !== id;
    for (const a of document.querySelectorAll('nav a')) {
      if (a.getAttribute('href') === `#${id}`) a.setAttribute('aria-current', 'page');
      else a.removeAttribute('aria-current');
    }
    document.title = `iommufd-testbed: ${scenario ? name : id}`;
    if (scenario) byId('race').querySelector('h2').focus({ preventScroll: true });
    window.scrollTo(0, 0);
  }

  function decodeParts(hash) {
    try {
      return hash.split('/').map(decodeURIComponent);
    } catch (e) {
      return [];
    }
  }

  for (const id of ['search', 'kind', 'verdict', 'row']) byId(id).addEventListener('input', () => showLines(data.lines_shown));
  document.querySelector('.filters').addEventListener('submit', (event) => event.preventDefault());
  document.querySelector('.skip').addEventListener('click', (event) => {
    event.preventDefault();
    byId('main').focus();
  });
  window.addEventListener('hashchange', show);
  filter();
  show();
})();
