import {
  type CSSVariablesResolver,
  createTheme,
  defaultVariantColorsResolver,
  type VariantColorsResolver,
} from '@mantine/core';

const lightDark = (light: string, dark: string) => `light-dark(${light}, ${dark})`;

/** Light badges and buttons with enough contrast in both schemes (WCAG 2.2 AA). */
const variantColorResolver: VariantColorsResolver = (input) => {
  const base = defaultVariantColorsResolver(input);
  const color = input.color || input.theme.primaryColor;
  if (input.variant === 'light' && input.theme.colors[color]) {
    return {
      ...base,
      background: `color-mix(in srgb, var(--mantine-color-${color}-6) 13%, transparent)`,
      hover: `color-mix(in srgb, var(--mantine-color-${color}-6) 20%, transparent)`,
      color: lightDark(
        `color-mix(in srgb, var(--mantine-color-${color}-9) 80%, black)`,
        `var(--mantine-color-${color}-2)`,
      ),
      border: '1px solid transparent',
    };
  }
  if (input.variant === 'filled' && color === input.theme.primaryColor) {
    return { ...base, color: lightDark('#fff', '#0d0f14') };
  }
  return base;
};

export const cssVariablesResolver: CSSVariablesResolver = () => ({
  variables: {},
  light: {
    '--mantine-color-dimmed': '#596170',
    '--mantine-color-text': '#16181d',
    '--mantine-color-body': '#fff',
    '--mantine-color-default-border': '#e1e4e9',
    '--mantine-color-placeholder': '#6b7280',
    '--mantine-color-error': '#b4232a',
  },
  dark: {
    '--mantine-color-anchor': '#a5b4fc',
    '--mantine-color-placeholder': '#9ba3b0',
    '--mantine-color-error': '#ff9c9f',
  },
});

export const theme = createTheme({
  fontFamily: "'Inter Variable', system-ui, sans-serif",
  fontFamilyMonospace: "ui-monospace, 'SF Mono', Menlo, Consolas, 'Liberation Mono', monospace",
  primaryColor: 'indigo',
  primaryShade: { light: 8, dark: 4 },
  autoContrast: true,
  luminanceThreshold: 0.18,
  defaultRadius: 'md',
  cursorType: 'pointer',
  respectReducedMotion: true,
  colors: {
    dark: [
      '#eceef2',
      '#c5cbd5',
      '#9ba3b0',
      '#707a89',
      '#2a2f38',
      '#232830',
      '#16191f',
      '#0f1115',
      '#0b0d10',
      '#08090b',
    ],
  },
  variantColorResolver,
  components: {
    Anchor: { defaultProps: { underline: 'always' } },
    Badge: { defaultProps: { radius: 'sm', tt: 'none', fw: 550 } },
    Card: { defaultProps: { radius: 'lg' } },
    Paper: { defaultProps: { radius: 'lg' } },
    Switch: { defaultProps: { withThumbIndicator: false } },
    Tooltip: { defaultProps: { withArrow: true, openDelay: 200 } },
    // Its header is a <header>, which would be a second banner of the page.
    Modal: { defaultProps: { radius: 'lg', centered: true, attributes: { header: { role: 'presentation' } } } },
  },
});
