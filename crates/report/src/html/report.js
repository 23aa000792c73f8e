// Charts, theme, sorting and paging of a report. No library, no network, no storage; what it draws is in the JSON block.
(() => {
  'use strict';
  const SVG = 'http://www.w3.org/2000/svg';
  const byId = (id) => document.getElementById(id);
  const block = byId('data');
  const data = block ? JSON.parse(block.textContent) : { t0: 0, charts: [] };
  const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
  const node = (parent, name, attributes, text) => {
    const made = document.createElementNS(SVG, name);
    for (const key in attributes) made.setAttribute(key, attributes[key]);
    if (text !== undefined) made.textContent = text;
    parent.appendChild(made);
    return made;
  };

  // ---- numbers and times, always in UTC and in English, so that a report reads the same everywhere
  const number = (value, digits) => value.toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits });
  const digitsOf = (value) => { const size = Math.abs(value); return size >= 1000 ? 2 : size >= 1 ? 4 : size >= 0.01 ? 6 : 8; };
  const shown = (value, format) => {
    if (value === null || value === undefined || !isFinite(value)) return 'n/a';
    if (format === 'percent') return number(value * 100, 2) + ' %';
    if (format === 'ratio') return number(value, 2);
    if (format === 'price') return number(value, digitsOf(value));
    return number(value, Math.abs(value) >= 1 ? 2 : 6);
  };
  /** Labels of an axis: all in the same unit and with as many decimals as the step needs. */
  const onAxis = (values, step, format) => {
    const scale = format === 'percent' ? 100 : 1;
    const size = Math.max(0, ...values.map(Math.abs)) * scale;
    const unit = size >= 1e9 ? [1e9, 'B'] : size >= 1e6 ? [1e6, 'M'] : size >= 1e5 ? [1e3, 'k'] : [1, ''];
    const by = step * scale / unit[0];
    let digits = 0;
    while (digits < 8 && Math.abs(Math.round(by * 10 ** digits) - by * 10 ** digits) > 1e-6 * by * 10 ** digits) digits += 1;
    return values.map((value) => {
      const text = number(value * scale / unit[0], digits);
      return (/^-0(\.0*)?$/.test(text) ? text.slice(1) : text) + unit[1] + (format === 'percent' ? ' %' : '');
    });
  };
  const two = (value) => String(value).padStart(2, '0');
  const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];
  const SECOND = 1000, MINUTE = 60 * SECOND, HOUR = 60 * MINUTE, DAY = 24 * HOUR;
  const dayOf = (ms) => { const at = new Date(ms); return at.getUTCFullYear() + '-' + two(at.getUTCMonth() + 1) + '-' + two(at.getUTCDate()); };
  const timeOf = (ms, withMs) => {
    const at = new Date(ms);
    const text = two(at.getUTCHours()) + ':' + two(at.getUTCMinutes()) + ':' + two(at.getUTCSeconds());
    return withMs ? text + '.' + String(at.getUTCMilliseconds()).padStart(3, '0') : text;
  };
  const whenOf = (ms, span) => dayOf(ms) + (span > 400 * DAY ? '' : ' ' + timeOf(ms, span < 10 * MINUTE));
  const STEPS = [1, 5, 10, 50, 100, 250, 500, SECOND, 2 * SECOND, 5 * SECOND, 15 * SECOND, 30 * SECOND, MINUTE, 2 * MINUTE, 5 * MINUTE,
    15 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, DAY, 2 * DAY, 4 * DAY, 7 * DAY, 14 * DAY];
  const timeTicks = (from, to, count) => {
    const wanted = (to - from) / Math.max(1, count);
    const step = STEPS.find((it) => it >= wanted);
    const ticks = [];
    if (step) {
      for (let at = Math.ceil(from / step) * step; at <= to; at += step) {
        const date = new Date(at);
        const isDay = at % DAY === 0;
        ticks.push([at, isDay ? MONTHS[date.getUTCMonth()] + ' ' + date.getUTCDate() : step < SECOND ? timeOf(at, true) : step < MINUTE ? timeOf(at) : timeOf(at).slice(0, 5)]);
      }
      return ticks;
    }
    const months = wanted / (30.44 * DAY);
    const every = [1, 2, 3, 4, 6, 12, 24, 60, 120, 240, 600].find((it) => it >= months) || 1200;
    const first = new Date(from);
    let at = first.getUTCFullYear() * 12 + first.getUTCMonth();
    at = Math.ceil(at / every) * every;
    for (let turns = 0; turns < 500; turns += 1, at += every) {
      const ms = Date.UTC(Math.floor(at / 12), at % 12, 1);
      if (ms > to) break;
      if (ms >= from) ticks.push([ms, at % 12 === 0 ? String(Math.floor(at / 12)) : MONTHS[at % 12]]);
    }
    return ticks;
  };
  const valueTicks = (low, high, count) => {
    const raw = (high - low) / Math.max(1, count);
    const size = Math.pow(10, Math.floor(Math.log10(raw)));
    const step = [1, 2, 2.5, 5, 10].map((it) => it * size).find((it) => it >= raw) || 10 * size;
    const ticks = [];
    for (let at = Math.ceil(low / step - 1e-9); at * step <= high + step * 1e-9 && ticks.length < 20; at += 1) ticks.push(at * step);
    return [ticks, step];
  };

  // ---- series
  const decode = (deltas) => { let at = data.t0; return deltas.map((delta) => (at += delta)); };
  /** The first index whose time is not before `at`. */
  const find = (times, at) => {
    let low = 0, high = times.length;
    while (low < high) { const middle = (low + high) >> 1; if (times[middle] < at) low = middle + 1; else high = middle; }
    return low;
  };
  const nearest = (times, at) => {
    const after = find(times, at);
    if (after === 0) return 0;
    if (after >= times.length) return times.length - 1;
    return at - times[after - 1] <= times[after] - at ? after - 1 : after;
  };
  /** The value that holds at a time: the last one at or before it. */
  const holding = (times, at) => Math.max(0, find(times, at + 1) - 1);

  /** What is shown at a time: a step's value holds on, a line has its nearest point. */
  const placeOf = (series, at) => (series.type === 'step' ? holding(series.t, at) : nearest(series.t, at));

  const group = { charts: [], full: [0, 1], view: [0, 1], at: null };
  const live = byId('live');

  const setView = (from, to) => {
    const [low, high] = group.full;
    const least = Math.max((high - low) / 50000, 5);
    if (to - from < least) { const middle = (from + to) / 2; from = middle - least / 2; to = middle + least / 2; }
    if (to - from >= (high - low) * 0.999) { from = low; to = high; }
    const shift = from < low ? low - from : to > high ? high - to : 0;
    group.view = [Math.max(low, from + shift), Math.min(high, to + shift)];
    group.charts.forEach((chart) => chart.draw());
    const isZoomed = group.view[0] > low || group.view[1] < high;
    document.querySelectorAll('.reset').forEach((button) => { button.hidden = !isZoomed; });
  };
  const zoom = (factor, around) => {
    const [from, to] = group.view;
    const at = around === null || around === undefined ? (from + to) / 2 : around;
    setView(at - (at - from) * factor, at + (to - at) * factor);
  };
  const hover = (at) => { group.at = at; group.charts.forEach((chart) => chart.point(at)); };

  const timeChart = (spec, place) => {
    const series = spec.series.map((it) => ({ ...it, t: decode(it.t) }));
    const candles = spec.candles ? { ...spec.candles, t: decode(spec.candles.t) } : null;
    const trades = spec.trades ? { ...spec.trades, et: decode(spec.trades.et), xt: spec.trades.xt.map((it) => it + data.t0) } : null;
    const legend = place.parentElement.querySelector('.legend');
    const chart = { times: candles ? candles.t : (series[0] || { t: [] }).t };
    let box = null, cross = null, dots = [], drag = null;

    const domain = (from, to) => {
      let low = Infinity, high = -Infinity;
      const take = (value) => { if (value !== null && value < low) low = value; if (value !== null && value > high) high = value; };
      for (const it of series) {
        const start = Math.max(0, find(it.t, from) - 1), end = Math.min(it.t.length, find(it.t, to) + 1);
        for (let at = start; at < end; at += 1) take(it.v[at]);
      }
      if (candles) {
        const start = Math.max(0, find(candles.t, from) - 1), end = Math.min(candles.t.length, find(candles.t, to) + 1);
        for (let at = start; at < end; at += 1) { take(candles.l[at]); take(candles.h[at]); }
      }
      if (spec.base !== undefined && isFinite(low)) take(spec.base);
      if (!isFinite(low)) return [0, 1];
      if (high === low) { const room = Math.abs(high) * 0.01 || 0.01; return [low - room, high + room]; }
      const pad = (high - low) * 0.06;
      return [spec.base === low ? low : low - pad, spec.base === high ? high : high + pad];
    };

    chart.draw = () => {
      const width = place.clientWidth;
      if (width < 40) return;
      const height = spec.height;
      const [from, to] = group.view;
      const [low, high] = domain(from, to);
      const [ticks, step] = valueTicks(low, high, Math.max(4, Math.floor(height / 50)));
      const labels = onAxis(ticks, step, spec.format);
      const left = clamp(Math.max(0, ...labels.map((text) => text.length)) * 6.9 + 12, 56, 96);
      const inner = { left, right: width - 8, top: 8, bottom: height - 22 };
      const x = (time) => inner.left + (time - from) / (to - from) * (inner.right - inner.left);
      const y = (value) => inner.bottom - (value - low) / (high - low) * (inner.bottom - inner.top);
      box = { ...inner, x, y, from, to, width };
      const svg = document.createElementNS(SVG, 'svg');
      svg.setAttribute('viewBox', '0 0 ' + width + ' ' + height);
      svg.setAttribute('height', height);
      svg.setAttribute('aria-hidden', 'true');
      const clip = 'clip-' + spec.id;
      node(node(node(svg, 'defs', {}), 'clipPath', { id: clip }), 'rect', { x: inner.left, y: 0, width: Math.max(0, inner.right - inner.left), height: inner.bottom + 1 });
      ticks.forEach((value, at) => {
        const line = Math.round(y(value)) + 0.5;
        node(svg, 'line', { class: 'grid', x1: inner.left, x2: inner.right, y1: line, y2: line });
        node(svg, 'text', { x: inner.left - 8, y: line + 4, 'text-anchor': 'end' }, labels[at]);
      });
      let free = -Infinity;
      for (const [time, text] of timeTicks(from, to, Math.floor((inner.right - inner.left) / 84))) {
        const at = x(time);
        node(svg, 'line', { class: 'grid', x1: at, x2: at, y1: inner.top, y2: inner.bottom });
        const half = text.length * 3.3;
        if (at - half < free || at + half > width || at - half < inner.left - 30) continue;
        node(svg, 'text', { x: at, y: height - 6, 'text-anchor': 'middle' }, text);
        free = at + half + 10;
      }
      if (spec.base !== undefined && spec.base > low && spec.base < high) {
        const line = Math.round(y(spec.base)) + 0.5;
        node(svg, 'line', { class: 'zero', x1: inner.left, x2: inner.right, y1: line, y2: line });
      }
      const area = node(svg, 'g', { 'clip-path': 'url(#' + clip + ')' });
      if (candles) drawCandles(area, from, to, x, y);
      for (const it of series) drawLine(area, it, from, to, x, y);
      if (trades) drawTrades(area, from, to, x, y);
      cross = node(svg, 'line', { class: 'cross', y1: inner.top, y2: inner.bottom, visibility: 'hidden' });
      dots = series.map((it) => node(area, 'circle', { class: 'dot ' + it.class, r: 3.5, visibility: 'hidden' }));
      if (!chart.times.length) node(svg, 'text', { class: 'empty', x: width / 2, y: height / 2, 'text-anchor': 'middle' }, 'nothing to draw');
      place.replaceChildren(svg);
      chart.svg = svg;
      chart.point(group.at);
    };

    const drawLine = (area, it, from, to, x, y) => {
      const start = Math.max(0, find(it.t, from) - 1), end = Math.min(it.t.length, find(it.t, to) + 1);
      if (end <= start) return;
      const parts = [];
      let before = null;
      for (let at = start; at < end; at += 1) {
        if (it.v[at] === null) { before = null; continue; }
        const px = x(it.t[at]).toFixed(1), py = y(it.v[at]).toFixed(1);
        if (before === null) parts.push('M' + px + ' ' + py);
        else parts.push(it.type === 'step' ? 'H' + px + 'V' + py : 'L' + px + ' ' + py);
        before = py;
      }
      if (it.type === 'step' && before !== null) parts.push('H' + x(Math.max(it.t[end - 1], Math.min(to, group.full[1]))).toFixed(1));
      const path = parts.join('');
      if (it.fill) {
        const base = y(spec.base !== undefined ? spec.base : it.v[start]).toFixed(1);
        const last = it.type === 'step' ? '' : 'L' + x(it.t[end - 1]).toFixed(1) + ' ' + base;
        node(area, 'path', { class: 'fill ' + it.class, d: path + (last || 'V' + base) + 'L' + x(it.t[start]).toFixed(1) + ' ' + base + 'Z' });
      }
      node(area, 'path', { class: 'stroke ' + it.class, d: path });
    };

    const drawCandles = (area, from, to, x, y) => {
      const start = Math.max(0, find(candles.t, from) - 1), end = Math.min(candles.t.length, find(candles.t, to) + 1);
      const wide = (x(to) - x(from)) / Math.max(1, end - start);
      if (wide < 3) {
        let top = '', bottom = '', line = '';
        for (let at = start; at < end; at += 1) {
          const px = x(candles.t[at]).toFixed(1);
          top += (at === start ? 'M' : 'L') + px + ' ' + y(candles.h[at]).toFixed(1);
          bottom = 'L' + px + ' ' + y(candles.l[at]).toFixed(1) + bottom;
          line += (at === start ? 'M' : 'L') + px + ' ' + y(candles.c[at]).toFixed(1);
        }
        node(area, 'path', { class: 'fill band', d: top + bottom + 'Z' });
        node(area, 'path', { class: 'stroke price', d: line });
        return;
      }
      const body = clamp(wide * 0.66, 1, 15);
      const paths = { wickrise: '', wickfall: '', rise: '', fall: '' };
      for (let at = start; at < end; at += 1) {
        const middle = x(candles.t[at]);
        const kind = candles.c[at] >= candles.o[at] ? 'rise' : 'fall';
        paths['wick' + kind] += 'M' + middle.toFixed(1) + ' ' + y(candles.h[at]).toFixed(1) + 'V' + y(candles.l[at]).toFixed(1);
        const a = y(Math.max(candles.o[at], candles.c[at])), b = y(Math.min(candles.o[at], candles.c[at]));
        paths[kind] += 'M' + (middle - body / 2).toFixed(1) + ' ' + a.toFixed(1) + 'h' + body.toFixed(1) + 'v' + Math.max(1, b - a).toFixed(1) + 'h' + (-body).toFixed(1) + 'z';
      }
      for (const kind of ['rise', 'fall']) {
        if (paths['wick' + kind]) node(area, 'path', { class: 'wick ' + kind, d: paths['wick' + kind] });
        if (paths[kind]) node(area, 'path', { class: 'body ' + kind, d: paths[kind] });
      }
    };

    const drawTrades = (area, from, to, x, y) => {
      const seen = [];
      for (let at = 0; at < trades.et.length; at += 1) if (trades.xt[at] >= from && trades.et[at] <= to) seen.push(at);
      const size = seen.length > 700 ? 2.2 : seen.length > 300 ? 3 : seen.length > 120 ? 4 : 5.5;
      const paths = { 'held won': '', 'held lost': '', 'mark long': '', 'mark short': '', 'mark won': '', 'mark lost': '' };
      for (const at of seen) {
        const outcome = trades.p[at] > 0 ? 'won' : 'lost';
        const ex = x(trades.et[at]), ey = y(trades.ep[at]), xx = x(trades.xt[at]), xy = y(trades.xp[at]);
        if (seen.length <= 200) paths['held ' + outcome] += 'M' + ex.toFixed(1) + ' ' + ey.toFixed(1) + 'L' + xx.toFixed(1) + ' ' + xy.toFixed(1);
        const tip = trades.d[at] > 0 ? 1 : -1;
        paths[tip > 0 ? 'mark long' : 'mark short'] += 'M' + ex.toFixed(1) + ' ' + (ey + tip * 2).toFixed(1) + 'l' + size + ' ' + (tip * size * 1.7).toFixed(1) + 'h' + (-2 * size) + 'z';
        const half = size * 0.85;
        paths['mark ' + outcome] += 'M' + (xx - half).toFixed(1) + ' ' + xy.toFixed(1) + 'l' + half.toFixed(1) + ' ' + (-half).toFixed(1) + 'l' + half.toFixed(1) + ' ' + half.toFixed(1) + 'l' + (-half).toFixed(1) + ' ' + half.toFixed(1) + 'z';
      }
      for (const kind in paths) if (paths[kind]) node(area, 'path', { class: kind, d: paths[kind] });
    };

    const tradeNear = (at) => {
      if (!trades || !box) return null;
      const reach = (box.to - box.from) / (box.right - box.left) * 7;
      let best = null, distance = reach;
      for (let it = 0; it < trades.et.length; it += 1) {
        const away = Math.min(Math.abs(trades.et[it] - at), Math.abs(trades.xt[it] - at));
        if (away < distance) { distance = away; best = it; }
      }
      return best;
    };

    const readout = (at) => {
      const items = [];
      const add = (className, label, value) => items.push([className, label, value]);
      const span = box ? box.to - box.from : 0;
      if (at !== null) add('when', '', whenOf(at, span));
      if (candles && candles.t.length) {
        const it = at === null ? candles.t.length - 1 : nearest(candles.t, at);
        if (at !== null) { add('plain', 'O', shown(candles.o[it], spec.format)); add('plain', 'H', shown(candles.h[it], spec.format)); add('plain', 'L', shown(candles.l[it], spec.format)); }
        add('plain', at === null ? 'Close' : 'C', shown(candles.c[it], spec.format));
      }
      for (const it of series) {
        if (!it.t.length) continue;
        const place = at === null ? it.t.length - 1 : placeOf(it, at);
        add('key ' + it.class, it.name, shown(it.v[place], it.format || spec.format));
      }
      const trade = at === null ? null : tradeNear(at);
      if (trade !== null) {
        add(trades.p[trade] > 0 ? 'up' : 'down', trades.d[trade] > 0 ? 'long' : 'short',
          shown(trades.ep[trade], 'price') + ' \u2192 ' + shown(trades.xp[trade], 'price') + ', ' + (trades.p[trade] > 0 ? '+' : '') + shown(trades.p[trade], 'money'));
      }
      return items;
    };

    chart.point = (at) => {
      if (!box || !cross) return;
      const isIn = at !== null && at >= box.from && at <= box.to;
      cross.setAttribute('visibility', isIn ? 'visible' : 'hidden');
      if (isIn) { const px = box.x(at); cross.setAttribute('x1', px); cross.setAttribute('x2', px); }
      series.forEach((it, index) => {
        const dot = dots[index];
        const place = isIn && it.t.length ? placeOf(it, at) : -1;
        const isSeen = place >= 0 && it.v[place] !== null;
        dot.setAttribute('visibility', isSeen ? 'visible' : 'hidden');
        if (isSeen) { dot.setAttribute('cx', box.x(it.type === 'step' ? at : it.t[place])); dot.setAttribute('cy', box.y(it.v[place])); }
      });
      if (!legend) return;
      legend.replaceChildren(...readout(isIn ? at : null).map(([className, label, value]) => {
        const item = document.createElement('span');
        item.className = className;
        item.append(label ? label + ' ' : '');
        const strong = document.createElement('b');
        strong.textContent = value;
        item.append(strong);
        return item;
      }));
    };

    const timeAt = (event) => {
      const rect = place.getBoundingClientRect();
      const share = (event.clientX - rect.left - box.left) / (box.right - box.left);
      return box.from + clamp(share, 0, 1) * (box.to - box.from);
    };
    place.addEventListener('pointermove', (event) => {
      if (!box) return;
      const at = timeAt(event);
      if (drag) {
        const a = box.x(drag.at), b = box.x(at);
        drag.rect.setAttribute('x', Math.min(a, b));
        drag.rect.setAttribute('width', Math.abs(b - a));
      }
      hover(at);
    });
    place.addEventListener('pointerleave', () => { if (!drag) hover(null); });
    place.addEventListener('pointerdown', (event) => {
      if (!box || event.button !== 0 || event.pointerType === 'touch') return;
      drag = { at: timeAt(event), rect: node(chart.svg, 'rect', { class: 'select', y: box.top, height: box.bottom - box.top, x: 0, width: 0 }) };
      place.setPointerCapture(event.pointerId);
    });
    place.addEventListener('pointerup', (event) => {
      if (!drag) return;
      const a = drag.at, b = timeAt(event);
      drag.rect.remove();
      drag = null;
      if (Math.abs(box.x(a) - box.x(b)) > 6) setView(Math.min(a, b), Math.max(a, b));
    });
    place.addEventListener('pointercancel', () => { if (drag) drag.rect.remove(); drag = null; });
    place.addEventListener('dblclick', () => setView(...group.full));
    place.addEventListener('keydown', (event) => {
      const [from, to] = group.view;
      const step = (to - from) / 60;
      const at = group.at === null ? (from + to) / 2 : group.at;
      const keys = {
        ArrowLeft: () => (event.shiftKey ? setView(from - step * 6, to - step * 6) : hover(clamp(at - step, from, to))),
        ArrowRight: () => (event.shiftKey ? setView(from + step * 6, to + step * 6) : hover(clamp(at + step, from, to))),
        '+': () => zoom(0.6, group.at), '=': () => zoom(0.6, group.at), '-': () => zoom(1 / 0.6, group.at),
        Escape: () => setView(...group.full), '0': () => setView(...group.full),
      };
      if (!keys[event.key]) return;
      keys[event.key]();
      event.preventDefault();
      if (live) live.textContent = readout(group.at).map(([, label, value]) => (label ? label + ' ' : '') + value).join(', ');
    });
    return chart;
  };

  const histogram = (spec, place) => {
    const chart = { times: spec.bins.length ? [1] : [] };
    chart.draw = () => {
      const width = place.clientWidth, height = spec.height;
      if (width < 40) return;
      const most = Math.max(1, ...spec.bins.map((bin) => bin[2]));
      const low = spec.bins.length ? spec.bins[0][0] : 0, high = spec.bins.length ? spec.bins[spec.bins.length - 1][1] : 1;
      const [ticks, step] = valueTicks(0, most, 3);
      const [across, stepAcross] = valueTicks(low, high, Math.max(2, Math.floor(width / 90)));
      const inner = { left: 48, right: width - 8, top: 8, bottom: height - 22 };
      const x = (value) => inner.left + (value - low) / (high - low) * (inner.right - inner.left);
      const y = (count) => inner.bottom - count / most * (inner.bottom - inner.top);
      const svg = document.createElementNS(SVG, 'svg');
      svg.setAttribute('viewBox', '0 0 ' + width + ' ' + height);
      svg.setAttribute('height', height);
      svg.setAttribute('aria-hidden', 'true');
      for (const value of ticks) {
        const line = Math.round(y(value)) + 0.5;
        node(svg, 'line', { class: 'grid', x1: inner.left, x2: inner.right, y1: line, y2: line });
        if (Number.isInteger(value)) node(svg, 'text', { x: inner.left - 8, y: line + 4, 'text-anchor': 'end' }, onAxis([value], 1, 'count')[0]);
      }
      const below = onAxis(across, stepAcross, 'percent');
      across.forEach((value, at) => node(svg, 'text', { x: clamp(x(value), inner.left + 14, inner.right - 18), y: height - 6, 'text-anchor': 'middle' }, below[at]));
      for (const [from, to, count] of spec.bins) {
        if (!count) continue;
        const a = x(from), b = x(to);
        const bar = node(svg, 'rect', { class: 'bar ' + (from + to >= 0 ? 'rise' : 'fall'), x: a + 0.5, width: Math.max(0.5, b - a - 1), y: Math.min(y(count), inner.bottom - 1), height: Math.max(1, inner.bottom - y(count)) });
        node(bar, 'title', {}, shown(from, 'percent') + ' to ' + shown(to, 'percent') + ': ' + count);
      }
      if (low < 0 && high > 0) node(svg, 'line', { class: 'zero', x1: x(0), x2: x(0), y1: inner.top, y2: inner.bottom });
      if (!spec.bins.length) node(svg, 'text', { class: 'empty', x: width / 2, y: height / 2, 'text-anchor': 'middle' }, 'nothing to draw');
      place.replaceChildren(svg);
    };
    return chart;
  };

  // ---- build
  const still = [];
  for (const spec of data.charts) {
    const place = byId(spec.id);
    if (!place) continue;
    if (spec.kind === 'histogram') still.push(histogram(spec, place));
    else group.charts.push(timeChart(spec, place));
  }
  const ends = group.charts.filter((chart) => chart.times.length).flatMap((chart) => [chart.times[0], chart.times[chart.times.length - 1]]);
  if (ends.length) {
    const low = Math.min(...ends), high = Math.max(...ends);
    group.full = [low, Math.max(high, low + 1000)];
    group.view = group.full.slice();
  }
  const drawAll = () => { group.charts.forEach((chart) => chart.draw()); still.forEach((chart) => chart.draw()); };
  drawAll();
  let lastWidth = document.documentElement.clientWidth;
  window.addEventListener('resize', () => {
    const width = document.documentElement.clientWidth;
    if (width !== lastWidth) { lastWidth = width; drawAll(); }
  });
  window.addEventListener('beforeprint', drawAll);
  document.querySelectorAll('.reset').forEach((button) => button.addEventListener('click', () => setView(...group.full)));
  document.querySelectorAll('.nearer').forEach((button) => button.addEventListener('click', () => zoom(0.5, null)));
  document.querySelectorAll('.farther').forEach((button) => button.addEventListener('click', () => zoom(2, null)));

  // ---- tabs: one market at a time
  const tabs = [...document.querySelectorAll('[role="tab"]')];
  const choose = (tab) => {
    for (const it of tabs) {
      const isIt = it === tab;
      it.setAttribute('aria-selected', String(isIt));
      it.tabIndex = isIt ? 0 : -1;
      byId(it.getAttribute('aria-controls')).hidden = !isIt;
    }
    drawAll();
  };
  tabs.forEach((tab, at) => {
    tab.addEventListener('click', () => choose(tab));
    tab.addEventListener('keydown', (event) => {
      const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!by) return;
      const next = tabs[(at + by + tabs.length) % tabs.length];
      choose(next);
      next.focus();
    });
  });

  // ---- theme: follows the system until somebody chooses
  const theme = byId('theme');
  if (theme) {
    const isDark = () => (document.documentElement.dataset.theme || (matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light')) === 'dark';
    const label = () => { theme.textContent = isDark() ? 'Light' : 'Dark'; theme.setAttribute('aria-label', isDark() ? 'Use light colours' : 'Use dark colours'); };
    theme.hidden = false;
    theme.addEventListener('click', () => { document.documentElement.dataset.theme = isDark() ? 'light' : 'dark'; label(); });
    label();
  }

  // ---- the trade list: sorted, searched, a page at a time; a click shows the trade on the price
  const table = byId('trades');
  if (table) {
    const PAGE = 25;
    const body = table.tBodies[0];
    const rows = [...body.rows];
    const words = rows.map((row) => row.textContent.toLowerCase());
    const pager = byId('pager'), label = byId('page'), back = byId('back'), next = byId('next'), search = byId('search');
    let order = rows.map((_, at) => at), page = 0;
    const keyOf = (row, column) => { const cell = row.cells[column]; const raw = cell.dataset.v; return raw === undefined ? cell.textContent : Number(raw); };
    const show = () => {
      const wanted = search.value.trim().toLowerCase();
      const found = wanted ? order.filter((at) => words[at].includes(wanted)) : order;
      const pages = Math.max(1, Math.ceil(found.length / PAGE));
      page = clamp(page, 0, pages - 1);
      body.replaceChildren(...found.slice(page * PAGE, page * PAGE + PAGE).map((at) => rows[at]));
      label.textContent = found.length ? (page * PAGE + 1) + '\u2013' + Math.min(found.length, page * PAGE + PAGE) + ' of ' + found.length.toLocaleString('en-US') : 'none';
      back.disabled = page === 0;
      next.disabled = page >= pages - 1;
    };
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      const button = document.createElement('button');
      button.type = 'button';
      button.textContent = head.textContent;
      head.replaceChildren(button);
      button.addEventListener('click', () => {
        const isDown = head.getAttribute('aria-sort') === 'ascending';
        for (const it of table.tHead.rows[0].cells) it.removeAttribute('aria-sort');
        head.setAttribute('aria-sort', isDown ? 'descending' : 'ascending');
        const keys = rows.map((row) => keyOf(row, column));
        order = rows.map((_, at) => at).sort((a, b) => (keys[a] < keys[b] ? -1 : keys[a] > keys[b] ? 1 : a - b) * (isDown ? -1 : 1));
        page = 0;
        show();
      });
    });
    for (const row of rows) {
      const from = Number(row.dataset.from), to = Number(row.dataset.to);
      const tab = tabs.find((it) => it.textContent === row.cells[1].textContent);
      const panel = tab ? byId(tab.getAttribute('aria-controls')) : document.querySelector('.market');
      if (!panel || !isFinite(from)) continue;
      row.className = 'link';
      row.addEventListener('click', () => {
        if (tab) choose(tab);
        const pad = Math.max((to - from) * 1.5, (group.full[1] - group.full[0]) / 150);
        setView(from - pad, to + pad);
        panel.scrollIntoView({ block: 'center' });
      });
    }
    pager.hidden = false;
    back.addEventListener('click', () => { page -= 1; show(); });
    next.addEventListener('click', () => { page += 1; show(); });
    search.addEventListener('input', () => { page = 0; show(); });
    show();
  }
})();
