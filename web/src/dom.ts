// Short ways to make elements.

type Props = Record<string, string | boolean | ((e: Event) => void)>;

/** An element with attributes, listeners (on…) and children. */
export function h<K extends keyof HTMLElementTagNameMap>(tag: K, props: Props = {}, ...children: (Node | string)[]): HTMLElementTagNameMap[K] {
  const e = document.createElement(tag);
  for (const [k, v] of Object.entries(props)) {
    if (typeof v === 'function') e.addEventListener(k.slice(2), v);
    else if (typeof v === 'boolean') e.toggleAttribute(k, v);
    else e.setAttribute(k, v);
  }
  e.append(...children);
  return e;
}

/** Sets text only if it differs, so that screen readers do not read it again. */
export function text(e: Element, s: string): void {
  if (e.textContent !== s) e.textContent = s;
}

export function show(e: HTMLElement, yes: boolean): void {
  if (e.hidden === yes) e.hidden = !yes;
}

/** An icon of 16 × 16 made of strokes. */
export function icon(path: string): SVGSVGElement {
  const ns = 'http://www.w3.org/2000/svg';
  const svg = document.createElementNS(ns, 'svg');
  svg.setAttribute('viewBox', '0 0 16 16');
  svg.setAttribute('aria-hidden', 'true');
  const p = document.createElementNS(ns, 'path');
  p.setAttribute('d', path);
  svg.append(p);
  return svg;
}
