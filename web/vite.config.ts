import { fileURLToPath } from 'node:url';
import react from '@vitejs/plugin-react';
import { defineConfig } from 'vitest/config';

const service = process.env.MLS_CRM_SYNC_URL ?? 'http://127.0.0.1:8080';
const documented = [
  '/api',
  '/active-properties-config',
  '/crm-property-reference',
  '/sync-property',
  '/health',
  '/ready',
];

export default defineConfig({
  plugins: [react()],
  resolve: { alias: { '@': fileURLToPath(new URL('./src', import.meta.url)) } },
  build: {
    outDir: '../src/mls_crm_sync/ui', // into the Python package, which serves it
    emptyOutDir: true,
    target: 'es2022',
    sourcemap: false,
    chunkSizeWarningLimit: 900, // kB before gzip; the budget of what is sent is checked by bench/dashboard.py
  },
  server: { proxy: Object.fromEntries(documented.map((path) => [path, { target: service, changeOrigin: true }])) },
  test: {
    environment: 'happy-dom',
    include: ['src/**/*.test.{ts,tsx}'],
    setupFiles: ['src/testing.tsx'],
    restoreMocks: true,
  },
});
