// Asks for a clip before the browser downloads it: the browser would say of a refusal only that
// the download has failed.

/** A part of a range that is one file. The times are those of the server, RFC 3339; they may overlap
 *  those of other parts. seq distinguishes it from these. */
export interface Part { start: string; end: string; seq: number }

export interface Answer {
  error: string; // why there is no file; '': there is one
  parts: Part[]; // of which each is a file
}

const patience = 15_000; // ms

/** Asks whether a range is one file. HEAD reads no footage, and the answer to it has no reason. */
export async function askClip(url: string): Promise<Answer> {
  const abort = new AbortController();
  const late = setTimeout(() => abort.abort(), patience);
  const { signal } = abort;
  try {
    if ((await fetch(url, { method: 'HEAD', signal })).ok) return { error: '', parts: [] };
    const res = await fetch(url, { signal });
    if (res.ok) { // there is one meanwhile
      abort.abort();
      return { error: '', parts: [] };
    }
    const body = await res.json().catch(() => ({})) as { error?: string; clips?: Part[] };
    const parts = body.clips ?? [];
    if (parts.length) return { error: 'The camera has connected again or changed its picture in this range. Each part is a file of its own:', parts };
    return { error: sentence(body.error ?? `the server answered ${res.status}`), parts };
  } catch {
    return { error: 'The server does not answer.', parts: [] };
  } finally {
    clearTimeout(late);
  }
}

const sentence = (s: string): string => s.charAt(0).toUpperCase() + s.slice(1) + (s.endsWith('.') ? '' : '.');
