// Pictures of check items, one SVG file each, served as files of their own.
const files = import.meta.glob<string>("./pictograms/*.svg", { query: "?url", import: "default", eager: true });

/** The address of a pictogram, or undefined when there is none of that name. */
export const pictogram = (name: string | undefined): string | undefined => (name ? files[`./pictograms/${name}.svg`] : undefined);
