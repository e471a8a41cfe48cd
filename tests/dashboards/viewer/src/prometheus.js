// Asks Prometheus, and makes of its answers the frames that Grafana's components draw.

import { FieldType, toDataFrame } from '@grafana/data';
import { substitute } from './variables.js';

export class Prometheus {
  // `from` and `to` are Unix seconds, `step` is in seconds.
  constructor(url, { from, to, step }) {
    Object.assign(this, { url, from, to, step });
  }

  async labelValues(selector, label) {
    return this.get(`label/${label}/values`, { 'match[]': selector, start: this.from, end: this.to });
  }

  async frames(target, values) {
    const query = substitute(target.expr, values);
    const answer = target.instant
      ? await this.get('query', { query, time: this.to })
      : await this.get('query_range', { query, start: this.from, end: this.to, step: this.step });
    if (target.format === 'table') {
      return [this.table(target, answer.result)];
    }
    return answer.result.map((series) => this.series(target, series));
  }

  async get(path, parameters) {
    const response = await fetch(`${this.url}/api/v1/${path}?${new URLSearchParams(parameters)}`);
    const answer = await response.json();
    if (answer.status !== 'success') {
      throw new Error(answer.error);
    }
    return answer.data;
  }

  series(target, { metric, values, value }) {
    const samples = new Map((values ?? [value]).map(([at, text]) => [at, number(text)]));
    const times = value ? [...samples.keys()] : steps(this.from, this.to, this.step);
    const named = target.legendFormat.replace(/\{\{(\w+)\}\}/g, (_, key) => metric[key] ?? '');
    const config = { displayNameFromDS: named === '__auto' ? label(metric) : named };
    return toDataFrame({
      refId: target.refId,
      fields: [
        { name: 'Time', type: FieldType.time, values: times.map((at) => 1000 * at) },
        // A step without a sample is a gap, not something to draw a line over.
        { name: 'Value', type: FieldType.number, values: times.map((at) => samples.get(at) ?? null), labels: metric, config },
      ],
    });
  }

  table(target, rows) {
    const labels = [...new Set(rows.flatMap(({ metric }) => Object.keys(metric)))].sort();
    return toDataFrame({
      refId: target.refId,
      fields: [
        { name: 'Time', type: FieldType.time, values: rows.map(({ value: [at] }) => 1000 * at) },
        ...labels.map((key) => ({ name: key, type: FieldType.string, values: rows.map(({ metric }) => metric[key] ?? '') })),
        { name: `Value #${target.refId}`, type: FieldType.number, values: rows.map(({ value: [, text] }) => number(text)) },
      ],
    });
  }
}

// The number of finite values in frames.
export function finite(frames) {
  const numbers = frames.flatMap(({ fields }) => fields).filter(({ type }) => type === FieldType.number);
  return numbers.flatMap(({ values }) => [...values]).filter(Number.isFinite).length;
}

function number(text) {
  return text === 'NaN' ? null : { '+Inf': Infinity, '-Inf': -Infinity }[text] ?? Number(text);
}

function label(metric) {
  const pairs = Object.entries(metric).filter(([key]) => key !== '__name__');
  return pairs.length ? pairs.map(([key, value]) => `${key}="${value}"`).join(', ') : metric.__name__ ?? 'Value';
}

function steps(from, to, step) {
  return Array.from({ length: Math.floor((to - from) / step) + 1 }, (_, place) => from + place * step);
}
