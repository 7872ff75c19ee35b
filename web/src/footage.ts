// What there is of a camera over time, as egress/timeline serves it.
import { reasons } from './model';
import type { View } from './timescale';

/** The answer of /v1/timeline. */
export interface Timeline {
  start: string;
  end: string;
  step: number; // s
  oldest?: string;
  newest?: string;
  steps: { start: string; footage: number; missing?: number; notes?: number }[];
  missing: { start: string; end: string; kind: string; reason?: string }[];
}

export interface Step {
  start: number;
  footage: number; // ms
  missing: number; // ms
  notes: number;
}

/** A time without footage, and why. */
export interface Missing extends View {
  kind: string;
  reason: string;
}

/** A timeline with all times in ms since the epoch. */
export interface Footage extends View {
  step: number;
  oldest?: number;
  newest?: number;
  steps: Step[];
  missing: Missing[];
}

/** Takes an answer over. Its bounds are those of its steps. */
export function read(t: Timeline): Footage {
  const step = t.step * 1000;
  return {
    from: Math.floor(Date.parse(t.start) / step) * step, to: Math.ceil(Date.parse(t.end) / step) * step, step,
    oldest: t.oldest ? Date.parse(t.oldest) : undefined, newest: t.newest ? Date.parse(t.newest) : undefined,
    steps: t.steps.map((s) => ({ start: Date.parse(s.start), footage: s.footage * 1000, missing: (s.missing ?? 0) * 1000, notes: s.notes ?? 0 })),
    missing: t.missing.map((m) => ({ from: Date.parse(m.start), to: Date.parse(m.end), kind: m.kind, reason: m.reason ?? '' })),
  };
}

/** A timeline whose end is replaced by a newer answer with the same step. */
export function merge(old: Footage, newer: Footage): Footage {
  const before = old.missing.filter((m) => m.from < newer.from).map((m) => ({ ...m, to: Math.min(m.to, newer.from) }));
  const missing = [...before];
  for (const m of newer.missing) {
    const last = missing[missing.length - 1];
    if (last && last.kind === m.kind && last.reason === m.reason && Math.abs(m.from - last.to) < 2) missing[missing.length - 1] = { ...last, to: m.to };
    else missing.push(m);
  }
  return { ...newer, from: old.from, steps: [...old.steps.filter((s) => s.start < newer.from), ...newer.steps], missing };
}

/** The times with footage, in order. Short times without it, inside a step, count as footage. */
export function covered(f: Footage): View[] {
  const all: View[] = [];
  const add = (from: number, to: number) => {
    const last = all[all.length - 1];
    if (to <= from) return;
    if (last && from <= last.to) last.to = Math.max(last.to, to);
    else all.push({ from, to });
  };
  for (const s of f.steps) {
    if (s.footage <= 0) continue;
    let from = Math.max(s.start, f.oldest ?? -Infinity);
    const to = Math.min(s.start + f.step, f.newest ?? Infinity);
    for (const m of f.missing) {
      if (m.to <= from || m.from >= to) continue;
      add(from, m.from);
      from = Math.min(m.to, to);
    }
    add(from, to);
  }
  return all;
}

/** The first footage at a time or later: that time itself, if there is footage. */
export function firstFrom(spans: View[], time: number): number | undefined {
  const next = spans.find((s) => s.to > time);
  return next && Math.max(next.from, time);
}

/** The time without footage in which a time lies. An absence has gaps in it, and knows better why. */
export function missingAt(f: Footage, time: number): Missing | undefined {
  const all = f.missing.filter((m) => m.from <= time && time < m.to);
  return all.find((m) => m.kind === 'absence') ?? all[0];
}

/** What a processor has noted, as it is drawn. */
export interface Bar {
  x: number; // px
  width: number;
  notes: number; // of one step, the most
}

/** The bars of notes in a view. Neighbours that lie in the same pixels are one. */
export function bars(f: Footage, v: View, width: number, least: number): Bar[] {
  const scale = width / (v.to - v.from);
  const w = Math.max(least, f.step * scale - 1);
  const all: Bar[] = [];
  for (const s of f.steps) {
    if (!s.notes || s.start + f.step < v.from || s.start > v.to) continue;
    const x = Math.round((s.start - v.from) * scale);
    const last = all[all.length - 1];
    if (last && x < last.x + least) last.notes = Math.max(last.notes, s.notes);
    else all.push({ x, width: w, notes: s.notes });
  }
  return all;
}

/** Why there is no footage, as a phrase. */
export const whyMissing = (m: Missing): string => reasons[m.reason] ?? (m.reason || 'nothing was recorded');

/** Whether footage came and was lost; else nothing came. */
export const isLost = (m: Missing): boolean => m.kind === 'gap' && m.reason !== 'absent';
