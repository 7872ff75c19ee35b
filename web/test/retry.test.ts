import { test } from 'node:test';
import assert from 'node:assert/strict';
import type { HlsConfig, LoaderCallbacks, LoaderContext } from 'hls.js';
import { untilItComes } from '../src/rewind';
import { browser } from './dom';

browser();
const sourceBuffer = class { appendBuffer(): void { /* nothing comes */ } remove(): void { /* nothing is there */ } };
Object.assign(globalThis, { self: globalThis, SourceBuffer: sourceBuffer, location: { href: 'http://server/' } });
Object.defineProperty(globalThis, 'navigator', { value: { onLine: true, userAgent: '' }, configurable: true });

const playlist = '#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:2\n#EXT-X-START:TIME-OFFSET=0,PRECISE=YES\n' + [0, 1, 2, 3].map((i) => `#EXTINF:2,\n${i}\n`).join('');

/** The first fragments that hls.js asks for, if it gets this status for each. */
async function asked(status: number): Promise<string> {
  const { default: Hls } = await import('hls.js/light');
  return new Promise((done) => {
    let all = '';
    class Loader {
      context: LoaderContext | undefined;
      stats = { aborted: false, loaded: 0, total: 0, retry: 0, chunkCount: 0, bwEstimate: 0, loading: { start: 0, first: 0, end: 0 }, parsing: { start: 0, end: 0 }, buffering: { start: 0, first: 0, end: 0 } };
      destroy(): void { /* nothing is open */ }
      abort(): void { /* nothing is open */ }
      getCacheAge(): null { return null; }
      getResponseHeader(): null { return null; }
      load(context: LoaderContext, _: unknown, to: LoaderCallbacks<LoaderContext>): void {
        this.context = context;
        setTimeout(() => {
          if (context.url.endsWith('m3u8')) return to.onSuccess({ url: context.url, data: playlist, code: 200 }, this.stats, context, null);
          all += context.url.slice(-1);
          to.onError({ code: status, text: '' }, context, null, this.stats);
          if (all.length < 2) return;
          hls.destroy();
          done(all);
        });
      }
    }
    const hls = new Hls({
      loader: Loader as unknown as HlsConfig['loader'], startFragPrefetch: true, enableWorker: false,
      fragLoadPolicy: { default: { ...Hls.DefaultConfig.fragLoadPolicy.default, errorRetry: untilItComes, timeoutRetry: untilItComes } },
    });
    hls.loadSource('http://server/x.m3u8');
  });
}

test('hls.js takes a fragment that does not come for no gap, unless it has expired', async () => {
  assert.deepEqual([await asked(0), await asked(503), await asked(410)], ['00', '00', '01']);
});
