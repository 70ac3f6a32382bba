/**
 * A list of many rows of one height, of which only those in sight are in the document: 10,000 rows cost as much as forty.
 * The browser scrolls; nothing is drawn anew until a row comes into sight.
 */
import type { ComponentChildren, HTMLAttributes } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";

/** Rows above and below those in sight, so that a quick turn of the wheel meets no gap. */
const beyond = 4;

interface VirtualRowsProps extends Omit<HTMLAttributes<HTMLDivElement>, "children"> {
  readonly count: number;
  readonly rowPx: number;
  /** This row is brought into sight when `moves` changes, and is in the document out of sight too: a label may refer to it. */
  readonly shown: number;
  readonly moves: string;
  /** Draws the row at `index`, `top` pixels down. */
  readonly row: (index: number, top: number) => ComponentChildren;
}

export function VirtualRows({ count, rowPx, shown, moves, row, ...attributes }: VirtualRowsProps) {
  const box = useRef<HTMLDivElement>(null);
  const [sight, setSight] = useState({ first: 0, rows: 40 });

  const look = (): void => {
    const { scrollTop = 0, clientHeight = 0 } = box.current ?? {};
    const first = Math.floor(scrollTop / rowPx);
    const rows = Math.ceil(clientHeight / rowPx) + 1;
    setSight((before) => (before.first === first && before.rows === rows ? before : { first, rows }));
  };
  useEffect(() => {
    const observer = new ResizeObserver(look);
    if (box.current !== null) {
      observer.observe(box.current);
    }
    return () => observer.disconnect();
  }, []);
  useLayoutEffect(() => {
    const { current } = box;
    if (current !== null) {
      const top = shown * rowPx;
      if (top < current.scrollTop) {
        current.scrollTop = top;
      } else if (top + rowPx > current.scrollTop + current.clientHeight) {
        current.scrollTop = top + rowPx - current.clientHeight;
      }
      look();
    }
  }, [moves, rowPx]);

  const from = Math.max(0, Math.min(sight.first, count) - beyond);
  const to = Math.min(count, sight.first + sight.rows + beyond);
  const drawn = Array.from({ length: Math.max(0, to - from) }, (_, n) => from + n);
  if (shown < count && !drawn.includes(shown)) {
    drawn.push(shown);
  }
  return (
    <div {...attributes} ref={box} onScroll={look}>
      <div class="room" style={{ height: `${count * rowPx}px` }}>
        {drawn.map((index) => row(index, index * rowPx))}
      </div>
    </div>
  );
}
