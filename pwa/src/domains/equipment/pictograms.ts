// Pictures of check items, one SVG file each. They are set into the page, not linked: only so do they take the theme's colours.
const files = import.meta.glob<string>("./pictograms/*.svg", { query: "?raw", import: "default", eager: true });

/** The drawing of a pictogram (SVG of our own, never of a kind), or undefined when there is none of that name. */
export const pictogram = (name: string | undefined): string | undefined => (name ? files[`./pictograms/${name}.svg`] : undefined);
