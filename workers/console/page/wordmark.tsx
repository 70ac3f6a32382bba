/** The name, with a headrace: the channel that leads the water to the wheel, and splits nothing off. */
export function Wordmark() {
  return (
    <p class="wordmark">
      <svg viewBox="0 0 32 32" aria-hidden="true">
        <rect width="32" height="32" rx="7" />
        <path d="M5 12h9c4 0 4 9 8 9h5M5 20h5" />
      </svg>
      Headrace
    </p>
  );
}
