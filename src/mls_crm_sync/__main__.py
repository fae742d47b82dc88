from mls_crm_sync.cli import main

main()
