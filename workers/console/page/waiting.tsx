/** That something is asked for, and after a while for how long already: who waits is not left to guess. */
import { useEffect, useState } from "preact/hooks";
import { patienceMs } from "./ask.ts";

/** A usual answer is there before. */
const quietSeconds = 2;

export function Waiting({ what }: { readonly what: string }) {
  const [seconds, setSeconds] = useState(0);
  useEffect(() => {
    const timer = setInterval(() => setSeconds((before) => before + 1), 1000);
    return () => clearInterval(timer);
  }, []);
  return (
    <p class="empty" role="status">
      {what} …
      {seconds > quietSeconds && (
        <>
          {" "}
          ClickHouse is slow to answer<span aria-hidden="true"> ({seconds} s so far)</span>. If it does not
          within {patienceMs / 1000} s, the page says so.
        </>
      )}
    </p>
  );
}
