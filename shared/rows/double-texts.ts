/**
 * The decimal text of doubles. The digits come from the engine, which takes 150 to 600 ns; attributes repeat their
 * values, so the last texts are kept, each in the place that its bits choose.
 */

const places = 1024;
/** A text of up to 24 characters ("-1.2345678901234567e-308") behind its length. */
const placeBytes = 32;

/** Kept texts stand in `texts` behind their lengths. */
export class DoubleTexts {
  /** What `find` gives points into this. */
  readonly texts = new DataView(new ArrayBuffer(places * placeBytes + placeBytes));
  readonly #low = new Int32Array(places);
  readonly #high = new Int32Array(places);

  /** The position in `texts` of the text of the double at `from`: its length in one byte, then its characters. */
  find(view: DataView, from: number): number {
    const low = view.getInt32(from, true);
    const high = view.getInt32(from + 4, true);
    const place = (Math.imul(low ^ Math.imul(high, 0x9e3779b1), 0x85ebca6b) >>> 22) & (places - 1);
    const at = place * placeBytes;
    if (this.#low[place] !== low || this.#high[place] !== high || this.texts.getUint8(at) === 0) {
      this.#low[place] = low;
      this.#high[place] = high;
      this.#write(at, view.getFloat64(from, true));
    }
    return at;
  }

  #write(at: number, value: number): void {
    // Go's ES6 style differs from JavaScript's own in minus zero alone.
    const text = Object.is(value, -0) ? "-0" : String(value);
    this.texts.setUint8(at, text.length);
    for (let i = 0; i < text.length; i++) {
      this.texts.setUint8(at + 1 + i, text.charCodeAt(i));
    }
  }
}
