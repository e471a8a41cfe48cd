// Draws a board: ?prom=URL&dash=FILE&theme=dark|light&span=SECONDS&window=30s. When all is drawn, document.title is
// {"total": N, "ok": N, "empty": [titles], "errors": ["title: what"]}.

import { applyFieldOverrides, createTheme, dateTime, transformDataFrame } from '@grafana/data';
import { GlobalStyles, PanelChrome, PortalContainer, ThemeContext } from '@grafana/ui';
import { Component, useEffect } from 'react';
import { createRoot } from 'react-dom/client';
import { lastValueFrom } from 'rxjs';
import { Visual } from './panels.jsx';
import { Prometheus, finite } from './prometheus.js';
import { fieldConfigRegistry, mustBeKnown, register } from './registries.js';
import { choose, substitute } from './variables.js';

const WIDTH = 1600;
const COLUMN = WIDTH / 24;
const ROW = 32;
const GAP = 8;
const HEADER = 40;

const asked = new URLSearchParams(location.search);
const theme = createTheme({ colors: { mode: asked.get('theme') ?? 'dark' } });
const errors = [];

async function start() {
  register();
  const board = await (await fetch(asked.get('dash'))).json();
  const span = Number(asked.get('span') ?? 3600);
  const step = Math.max(1, Math.ceil(span / 500));
  const to = Math.floor(Number(asked.get('to') ?? Date.now() / 1000) / step) * step;
  const from = to - Math.floor(span / step) * step;
  const prometheus = new Prometheus(asked.get('prom'), { from, to, step });
  const builtIn = { __range: `${span}s`, __range_s: span, __interval: `${step}s`, __rate_interval: `${4 * step}s` };
  const values = await choose(board.templating.list, builtIn, asked, prometheus);
  const range = { from: dateTime(1000 * from), to: dateTime(1000 * to) };
  const panels = await Promise.all(board.panels.map((panel) => load(panel, values, prometheus)));
  createRoot(document.getElementById('board')).render(
    <ThemeContext.Provider value={theme}>
      <GlobalStyles />
      <PortalContainer />
      <Board board={board} panels={panels} values={values} timeRange={{ ...range, raw: range }} />
    </ThemeContext.Provider>
  );
}

// Ask all that a panel asks, rearrange it and give each field its unit, colour and name.
async function load(panel, values, prometheus) {
  try {
    mustBeKnown(panel);
    const raw = (await Promise.all(panel.targets.map((target) => prometheus.frames(target, values)))).flat();
    const data = await lastValueFrom(transformDataFrame(panel.transformations ?? [], raw));
    const frames = applyFieldOverrides({
      data,
      fieldConfig: panel.fieldConfig,
      fieldConfigRegistry: fieldConfigRegistry(),
      replaceVariables: (text) => substitute(text, values),
      theme,
      timeZone: 'utc',
    });
    return { panel, frames, empty: finite(raw) === 0 };
  } catch (error) {
    return { panel, error };
  }
}

function Board({ board, panels, values, timeRange }) {
  useEffect(() => {
    report(panels);
  }, [panels]);
  const shown = board.templating.list.filter(({ name }) => name !== 'datasource').map(({ name, label }) => `${label}: ${values[name]}`);
  const style = { position: 'relative', width: WIDTH, minHeight: '100vh', background: theme.colors.background.canvas };
  return (
    <div style={style}>
      <div style={{ padding: '8px 12px', height: HEADER, boxSizing: 'border-box', color: theme.colors.text.primary }}>
        <strong>{board.title}</strong>
        <span style={{ color: theme.colors.text.secondary, marginLeft: 24 }}>{shown.join('   ').replaceAll('.+', 'All')}</span>
      </div>
      {panels.map((loaded) => (
        <Placed key={loaded.panel.id} {...loaded} panels={panels} values={values} timeRange={timeRange} />
      ))}
    </div>
  );
}

function Placed({ panel, panels, frames, error, empty, values, timeRange }) {
  const { x, y, w, h } = panel.gridPos;
  const box = { left: x * COLUMN + GAP / 2, top: HEADER + y * ROW, width: w * COLUMN - GAP, height: h * ROW - GAP };
  return (
    <div style={{ position: 'absolute', ...box }}>
      <PanelChrome title={substitute(panel.title, values)} description={panel.description} width={box.width} height={box.height}>
        {(width, height) => (
          <Boundary title={panel.title} panels={panels}>
            {error || empty ? <em>{error ? String(error) : 'No data'}</em> : <Visual {...{ panel, frames, timeRange, width, height }} />}
          </Boundary>
        )}
      </PanelChrome>
    </div>
  );
}

class Boundary extends Component {
  state = { failed: false };

  static getDerivedStateFromError() {
    return { failed: true };
  }

  componentDidCatch(error) {
    errors.push(`${this.props.title}: ${error}`);
    report(this.props.panels); // again: a panel may fail when it is drawn a second time, at the size its legend leaves
  }

  render() {
    return this.state.failed ? <em>cannot be drawn</em> : this.props.children;
  }
}

function report(panels) {
  const failed = [...panels.filter(({ error }) => error).map(({ panel, error }) => `${panel.title}: ${error}`), ...errors];
  const empty = panels.filter((one) => one.empty).map(({ panel }) => panel.title);
  document.title = JSON.stringify({ total: panels.length, ok: panels.length - failed.length - empty.length, empty, errors: failed });
}

start().catch((error) => {
  document.title = JSON.stringify({ total: 0, ok: 0, empty: [], errors: [String(error)] });
});
