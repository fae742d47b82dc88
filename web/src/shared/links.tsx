/** Mantine's links that know the router's pages. */
import { Anchor, type AnchorProps, Button, type ButtonProps, NavLink, type NavLinkProps } from '@mantine/core';
import { createLink } from '@tanstack/react-router';
import type { AnchorHTMLAttributes, Ref } from 'react';

type Native = Omit<AnchorHTMLAttributes<HTMLAnchorElement>, keyof AnchorProps> & { ref?: Ref<HTMLAnchorElement> };

function PlainAnchor(props: AnchorProps & Native) {
  return <Anchor {...props} />;
}

function PlainButton(props: ButtonProps & Omit<Native, keyof ButtonProps>) {
  return <Button component="a" {...props} />;
}

function PlainNavLink(props: NavLinkProps & Omit<Native, keyof NavLinkProps>) {
  return <NavLink component="a" {...props} />;
}

export const PageLink = createLink(PlainAnchor);
export const PageButton = createLink(PlainButton);
export const PageNavLink = createLink(PlainNavLink);
