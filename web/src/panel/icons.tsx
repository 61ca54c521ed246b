/** Line icons on a 16 px grid. They say nothing to screen readers: their buttons do. */
const PATHS = {
  close: "M4 4l8 8M12 4l-8 8",
  eye: "M1.5 8S4 3.5 8 3.5 14.5 8 14.5 8 12 12.5 8 12.5 1.5 8 1.5 8zM8 10a2 2 0 100-4 2 2 0 000 4z",
  hidden:
    "M2 2l12 12M6.2 3.8A6 6 0 018 3.5c4 0 6.5 4.5 6.5 4.5a12 12 0 01-1.9 2.4M9.9 9.8A2.6 2.6 0 016.2 6.1M4.2 5A11 11 0 001.5 8S4 12.5 8 12.5a6 6 0 002.9-.7",
  upload: "M8 10.5v-8M4.8 5.4L8 2.2l3.2 3.2M2.5 10.5v2a1 1 0 001 1h9a1 1 0 001-1v-2",
  download: "M8 2.5v8M4.8 7.4L8 10.6l3.2-3.2M2.5 11v1.5a1 1 0 001 1h9a1 1 0 001-1V11",
  back: "M9.8 3.5L5.3 8l4.5 4.5",
  next: "M6.2 3.5L10.7 8l-4.5 4.5",
  area: "M3.5 3.5h9v9h-9zM2 3.5h3M3.5 2v3M11 12.5h3M12.5 11v3",
  view: "M2.5 6V3.5a1 1 0 011-1H6M10 2.5h2.5a1 1 0 011 1V6M13.5 10v2.5a1 1 0 01-1 1H10M6 13.5H3.5a1 1 0 01-1-1V10",
  ask: "M2.5 8h10M8.8 4.2L12.6 8l-3.8 3.8",
  reset: "M3 8a5 5 0 105-5H4.5M6.5 1L4.3 3l2.2 2",
} as const;

export function Icon({ name }: { name: keyof typeof PATHS }) {
  return (
    <svg class="icon" viewBox="0 0 16 16" aria-hidden="true">
      <path d={PATHS[name]} />
    </svg>
  );
}
